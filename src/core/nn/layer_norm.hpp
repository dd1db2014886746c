// Layer normalisation with parameters. Its output is cheap to make again, so backward takes the input and the
// statistics.
#pragma once
#include "core/nn/parameter.hpp"
#include "core/ops/layer_norm.hpp"

namespace viaduct::nn {

struct LayerNorm {
  Parameter &gamma, &beta;  // [width]
  double eps;

  LayerNorm(ParameterStore& store, const std::string& name, int64_t width, double eps)
      : gamma(store.add(name + ".weight", {width}, {.init = Init::ones(), .decay = false})),
        beta(store.add(name + ".bias", {width}, {.decay = false})),
        eps(eps) {}

  void forward(Ctx& ctx, Tensor y, ops::NormStats stats, Tensor x) const {
    ops::layer_norm(ctx, y, stats, x, gamma.value, beta.value, eps);
  }
  // dx = or, for a residual stream, dx += the gradient; adds to the parameters' gradients, unless frozen.
  void backward(Ctx& ctx, Tensor dx, Tensor dy, Tensor x, ops::NormStats stats, bool accumulate) const {
    ops::layer_norm_backward(ctx, {dx, gamma.grad, beta.grad, accumulate}, dy, x, stats, gamma.value);
  }
};

// Kept statistics for the rows of x.
inline ops::NormStats keep_stats(Ctx& ctx, Tensor x) {
  DType t = stat_dtype(x.dtype);
  return {ctx.arena.keep({x.shape.rows()}, t), ctx.arena.keep({x.shape.rows()}, t)};
}

}  // namespace viaduct::nn
