// Whether the ranks still hold the same parameters.
#pragma once
#include "comm/communicator.hpp"
#include "core/nn/parameter.hpp"

namespace viaduct {

// Collective, when all values have arrived: hashes of every block are compared. An error of the rank that differs from most
// names it and the first block that does; of two ranks it names both, because neither can be told to be right.
void check_parity(const ParameterStore&, int64_t step, Communicator&);

}  // namespace viaduct
