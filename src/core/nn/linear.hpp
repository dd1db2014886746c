// y = x W^T + b with parameters. A layer is a value without state: `forward` hands back what `backward` needs, here
// only the input, which the caller keeps because others need it too.
#pragma once
#include "core/nn/parameter.hpp"
#include "core/ops/linear.hpp"

namespace viaduct::nn {

// Rows of a weight and their biases: a projection of its own. Gradients are absent when the parameters are frozen, the
// bias where there is none.
struct LinearRows {
  Tensor weight, bias, dweight, dbias;

  // y [.., out]; `options` without its bias.
  void forward(Ctx& ctx, Tensor y, Tensor x, ops::LinearOptions options = {}) const {
    options.bias = bias;
    ops::linear(ctx, y, x, weight, options);
  }
  // Adds to the parameters' gradients; writes dx unless it is absent.
  void backward(Ctx& ctx, Tensor dx, Tensor dy, Tensor x, const ops::LinearInputGradOptions& options = {}) const {
    if (dweight) ops::linear_weight_grad(ctx, dweight, dbias, dy, x);
    if (dx) ops::linear_input_grad(ctx, dx, dy, weight, options);
  }
};

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

  LinearRows all() const {
    return {weight.value, bias ? bias->value : Tensor{}, weight.grad, bias ? bias->grad : Tensor{}};
  }
  // Of a fused projection, one of its parts.
  LinearRows rows(int64_t begin, int64_t end) const {
    auto part = [=](const Tensor& t) { return t ? t.slice(begin, end) : t; };
    LinearRows l = all();
    return {part(l.weight), part(l.bias), part(l.dweight), part(l.dbias)};
  }

  void forward(Ctx& ctx, Tensor y, Tensor x, const ops::LinearOptions& options = {}) const {
    all().forward(ctx, y, x, options);
  }
  void backward(Ctx& ctx, Tensor dx, Tensor dy, Tensor x, const ops::LinearInputGradOptions& options = {}) const {
    all().backward(ctx, dx, dy, x, options);
  }
};

}  // namespace viaduct::nn
