#pragma once
#include "core/ops/step_tail.hpp"

namespace viaduct::ops::cuda {

void add_counts(Ctx&, Tensor sums, Tensor counts);
void add_losses(Ctx&, Tensor sums, Tensor losses, int64_t terms);
void write_step_tail(Ctx&, Tensor slot, Tensor sums);
void read_step_tail(Ctx&, Tensor sums, Tensor slot);

}  // namespace viaduct::ops::cuda
