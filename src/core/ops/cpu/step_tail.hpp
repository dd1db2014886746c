#pragma once
#include "core/ops/step_tail.hpp"

namespace viaduct::ops::cpu {

void add_counts(Tensor sums, Tensor counts);
void add_losses(Tensor sums, Tensor losses, int64_t terms);
void write_step_tail(Tensor slot, Tensor sums);
void read_step_tail(Tensor sums, Tensor slot);

}  // namespace viaduct::ops::cpu
