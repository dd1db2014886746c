// Elementwise ops on tensors of one dtype. Outputs may alias inputs.
#pragma once
#include "core/device/context.hpp"

namespace viaduct::ops {

// gelu: x Phi(x), erf form; gelu_tanh: HF's gelu_new and gelu_pytorch_tanh; quick_gelu: x sigmoid(1.702 x).
enum class Activation : uint8_t { none, gelu, gelu_tanh, quick_gelu, relu, tanh };

void activation(Ctx&, Tensor y, Tensor x, Activation);
void activation_backward(Ctx&, Tensor dx, Tensor dy, Tensor x, Activation);  // x: the input of `activation`

void add(Ctx&, Tensor y, Tensor a, Tensor b);
void copy(Ctx&, Tensor y, Tensor x);  // converts between floating dtypes
void fill(Ctx&, Tensor y, double value);

// y = x * mask / (1 - p), mask drawn by Philox from (ctx.sample_keys[b], op, element inside sample b): the backward
// pass is the same call on dy. x [B, ..]. A copy when p is 0 or ctx.training is false.
struct DropoutOptions {
  float p = 0;
  uint32_t op = 0;  // which dropout of the model: every use has its own number
};
void dropout(Ctx&, Tensor y, Tensor x, DropoutOptions);

}  // namespace viaduct::ops
