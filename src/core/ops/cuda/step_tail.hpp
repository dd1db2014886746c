#pragma once
#include "core/ops/step_tail.hpp"

namespace viaduct::ops::cuda {

void begin_step_sums(Ctx&, Tensor sums, Tensor counts, bool first_pass);
void add_losses(Ctx&, Tensor sums, Tensor losses, int64_t terms);
void write_step_tail(Ctx&, Tensor slot, Tensor sums);
void read_step_tail(Ctx&, Tensor sums, Tensor slot);

}  // namespace viaduct::ops::cuda
