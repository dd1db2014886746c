// y = x W^T + b with parameters. A layer is a value without state: `forward` hands back what `backward` needs, here
// only the input, which the caller keeps because others need it too.
#pragma once
#include "core/nn/parameter.hpp"
#include "core/ops/linear.hpp"

namespace viaduct::nn {

struct Linear {
  Parameter& weight;  // [out, in]
  Parameter* bias;    // [out], or absent

  struct Options {
    bool bias = true;
    float stddev = 0.02f;  // of the initial weight
  };
  Linear(ParameterStore& store, const std::string& name, int64_t in, int64_t out, Options options)
      : weight(store.add(name + ".weight", {out, in}, {.init = Init::normal(options.stddev)})),
        bias(options.bias ? &store.add(name + ".bias", {out}, {.decay = false}) : nullptr) {}

  // y [.., out]; `options` without its bias.
  void forward(Ctx& ctx, Tensor y, Tensor x, ops::LinearOptions options = {}) const {
    if (bias) options.bias = bias->value;
    ops::linear(ctx, y, x, weight.value, options);
  }
  // Adds to the parameters' gradients; writes dx unless it is absent.
  void backward(Ctx& ctx, Tensor dx, Tensor dy, Tensor x, ops::LinearInputGradOptions options = {}) const {
    ops::linear_weight_grad(ctx, weight.grad, bias ? bias->grad : Tensor{}, dy, x);
    if (dx) ops::linear_input_grad(ctx, dx, dy, weight.value, options);
  }
};

}  // namespace viaduct::nn
