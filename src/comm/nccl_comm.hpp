// Ranks with a GPU each: tensors in device memory over NCCL, everything else by another communicator of the same ranks.
#pragma once
#include <memory>

#include "comm/communicator.hpp"

namespace viaduct {

// NCCL connects when the first tensor of a device comes, from every rank, as any collective does; a program that has none
// never loads it. Sums of bf16 are refused: NCCL rounds them at every hop.
std::unique_ptr<Communicator> make_nccl_comm(std::unique_ptr<Communicator> host);

}  // namespace viaduct
