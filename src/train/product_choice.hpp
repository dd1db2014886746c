#pragma once
#include <string>

#include "comm/communicator.hpp"

namespace viaduct {

// Chooses the algorithm of every matrix product that steps have been planned with on a cuda device: that of `kept` (a
// checkpoint's, so that a resumed run has the same bits), else what this machine measured before and keeps in
// $XDG_CACHE_HOME/viaduct (~/.cache), else the fastest by measuring now. Rank 0 chooses, for all. Collective; before the
// arena exists, because measuring takes memory.
void choose_products(Device, const std::string& kept, Communicator&);

}  // namespace viaduct
