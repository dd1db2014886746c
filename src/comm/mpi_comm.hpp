// Ranks as processes, host memory, over MPI. No call spins: a rank that waits sleeps (see mpi_wait).
#pragma once
#include <memory>

#include "comm/communicator.hpp"

namespace viaduct {

// All ranks of MPI_COMM_WORLD, with a context of their own; MPI has been started. Collective, as duplicate() is.
// MPI counts are ints: larger tensors go in pieces of at most `largest_count` elements.
std::unique_ptr<Communicator> make_mpi_comm(int64_t largest_count = int64_t(1) << 30);

}  // namespace viaduct
