#pragma once
#include "core/ops/linear.hpp"

namespace viaduct::ops::cuda {

void linear(Ctx&, Tensor y, Tensor x, Tensor weight, const LinearOptions&);
void linear_input_grad(Ctx&, Tensor dx, Tensor dy, Tensor weight, const LinearInputGradOptions&);
void linear_weight_grad(Ctx&, Tensor dweight, Tensor dbias, Tensor dy, Tensor x);

}  // namespace viaduct::ops::cuda
