#pragma once
#include "core/ops/elementwise.hpp"

namespace viaduct::ops::cpu {

void activation(Tensor y, Tensor x, Activation);
void activation_backward(Tensor dx, Tensor dy, Tensor x, Activation);
void add(Tensor y, Tensor a, Tensor b);
void copy(Tensor y, Tensor x);
void fill(Tensor y, double value);
void dropout(Tensor y, Tensor x, Tensor sample_keys, DropoutOptions);

}  // namespace viaduct::ops::cpu
