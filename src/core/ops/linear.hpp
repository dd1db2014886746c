// Matrix products with a weight. x [.., K], weight [N, K] as torch.nn.Linear stores it, y [.., N]; leading dimensions are rows.
// Products accumulate in fp32 (fp64 for fp64).
#pragma once
#include "core/device/context.hpp"
#include "core/ops/elementwise.hpp"
#include "core/ops/packed_weights.hpp"

namespace viaduct::ops {

struct LinearOptions {
  Tensor bias{};                             // [N]
  Activation activation = Activation::none;  // applied to x W^T + b
  Tensor pre{};                              // [.., N]: receives x W^T + b where backward needs it
  Tensor residual{};                         // y = residual + x W^T + b; may be y itself; without an activation
};
void linear(Ctx&, Tensor y, Tensor x, Tensor weight, const LinearOptions& = {});

// dx = dy W, or dx += dy W. With an activation: dx = (dy W) * activation'(pre), the fused mirror of `linear` of the layer before.
struct LinearInputGradOptions {
  bool accumulate = false;
  Activation activation = Activation::none;
  Tensor pre{};  // [.., K]
};
void linear_input_grad(Ctx&, Tensor dx, Tensor dy, Tensor weight, const LinearInputGradOptions& = {});

// dweight += dy^T x; dbias += sum of the rows of dy (absent: not wanted). Both in the gradient dtype (fp32; fp64 for fp64).
void linear_weight_grad(Ctx&, Tensor dweight, Tensor dbias, Tensor dy, Tensor x);

}  // namespace viaduct::ops
