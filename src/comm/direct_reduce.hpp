// Reduction of buffers that all ranks can read: memory bandwidth is the only cost (Open MPI's own is 3 to 7 times
// slower).
#pragma once
#include <vector>

#include "comm/communicator.hpp"
#include "core/base/range.hpp"

namespace viaduct {

// sources[r] is where rank r's elements begin. The elements of `part`, reduced over the sources in rank order (so every
// rank computes the same bits), go to the same elements of each target. A target may be a source.
void direct_reduce(const std::vector<const void*>& sources, const std::vector<void*>& targets, DType, Reduce,
                   Range part);

// `to` gets the elements of parts[r] from sources[r], for every r but `rank`, whose part is there.
void direct_gather(const Tensor& to, const std::vector<const void*>& sources, const std::vector<Range>& parts,
                   int rank);

// The part of n elements that rank `index` reduces: cut at cache lines.
Range reduce_part(int64_t n, int index, int ranks);

// Memory that a peer may be reading while this rank fails: it is released only when no exception is on its way, because
// then the process is about to end, and a communication thread may still be in a collective on it.
Buffer allocate_for_peers(Device, int64_t bytes);

}  // namespace viaduct
