// Elementwise ops on tensors of one dtype. Outputs may alias inputs.
#pragma once
#include <cmath>

#include "core/device/context.hpp"

namespace viaduct::ops {

// gelu: x Phi(x), erf form; gelu_tanh: HF's gelu_new and gelu_pytorch_tanh; quick_gelu: x sigmoid(1.702 x).
enum class Activation : uint8_t { none, gelu, gelu_tanh, quick_gelu, relu, tanh };

// Calls f.template operator()<A>() with the runtime value as a template argument.
template <class F>
decltype(auto) with_activation(Activation a, F&& f) {
  switch (a) {
    case Activation::gelu:
      return f.template operator()<Activation::gelu>();
    case Activation::gelu_tanh:
      return f.template operator()<Activation::gelu_tanh>();
    case Activation::quick_gelu:
      return f.template operator()<Activation::quick_gelu>();
    case Activation::relu:
      return f.template operator()<Activation::relu>();
    case Activation::tanh:
      return f.template operator()<Activation::tanh>();
    case Activation::none:
      break;
  }
  return f.template operator()<Activation::none>();
}

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
// Random bits below it drop their element: uniform(bits) < p.
inline uint32_t dropped_below(float p) { return uint32_t(std::ceil(double(p) * 0x1p24)) << 8; }

}  // namespace viaduct::ops
