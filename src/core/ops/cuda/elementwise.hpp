#pragma once
#include "core/ops/elementwise.hpp"

namespace viaduct::ops::cuda {

void activation(Ctx&, Tensor y, Tensor x, Activation);
void activation_backward(Ctx&, Tensor dx, Tensor dy, Tensor x, Activation);
void add(Ctx&, Tensor y, Tensor a, Tensor b);
void copy(Ctx&, Tensor y, Tensor x);
void fill(Ctx&, Tensor y, double value);
void dropout(Ctx&, Tensor y, Tensor x, DropoutOptions);

}  // namespace viaduct::ops::cuda
