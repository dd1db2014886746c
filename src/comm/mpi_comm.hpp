// Ranks as processes, host memory, over MPI. No call spins: a rank that waits sleeps (see mpi_wait).
#pragma once
#include <memory>

#include "comm/communicator.hpp"

namespace viaduct {

struct MpiOptions {
  int64_t largest_count = int64_t(1) << 30;  // elements a call: MPI counts are ints, larger tensors go in pieces
  bool share_memory = true;                  // ranks of one host reduce what allocate() gave in each other's memory
};

// All ranks of MPI_COMM_WORLD, with a context of their own; MPI has been started. Collective, as duplicate() is.
std::unique_ptr<Communicator> make_mpi_comm(const MpiOptions& = {});

// The library's own blocking sum over MPI_COMM_WORLD, to compare with; at most 2^31 - 1 elements.
void mpi_library_all_reduce(Tensor);

}  // namespace viaduct
