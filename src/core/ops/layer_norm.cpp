#include "core/ops/layer_norm.hpp"

#include "core/ops/cpu/layer_norm.hpp"
#include "core/ops/cuda/layer_norm.hpp"
#include "core/ops/dispatch.hpp"
#include "core/ops/operand_check.hpp"

namespace viaduct::ops {
namespace {

void check_stats(const OperandCheck& check, const NormStats& stats, const Tensor& x) {
  for (const Tensor& s : {stats.mean, stats.rstd}) check("a statistic", s, {x.shape.rows()}, stat_dtype(x.dtype));
}

}  // namespace

void layer_norm(Ctx& ctx, Tensor y, NormStats stats, Tensor x, Tensor gamma, Tensor beta, double eps) {
  OperandCheck check{ctx, "layer_norm"};
  check.same_size("y", y, x);
  check("gamma", gamma, {x.shape.last()}, x.dtype);
  check("beta", beta, {x.shape.last()}, x.dtype);
  if (stats.mean) check_stats(check, stats, x);
  run_on_device(
      ctx, [&] { cpu::layer_norm(y, stats, x, gamma, beta, eps); },
      [&] { cuda::layer_norm(ctx, y, stats, x, gamma, beta, eps); });
}

void layer_norm_backward(Ctx& ctx, NormGrads grads, Tensor dy, Tensor x, NormStats stats, Tensor gamma) {
  OperandCheck check{ctx, "layer_norm_backward"};
  int64_t columns = x.shape.last();
  check.same_size("dx", grads.dx, x);
  check.same_size("dy", dy, x);
  check_stats(check, stats, x);
  check("gamma", gamma, {columns}, x.dtype);
  check.that(bool(grads.dgamma) == bool(grads.dbeta), "dgamma and dbeta come together", grads.dbeta);
  if (grads.dgamma) check("dgamma", grads.dgamma, {columns}, stat_dtype(x.dtype));
  if (grads.dbeta) check("dbeta", grads.dbeta, {columns}, stat_dtype(x.dtype));
  int64_t rows = x.shape.rows();
  int64_t chunks = of_backend(
      ctx, [&] { return cpu::norm_chunks(rows); }, [&] { return cuda::norm_chunks(rows); });
  auto scope = ctx.arena.scope("layer_norm_backward");
  Tensor partial = ctx.arena.temp({chunks, 2, columns}, stat_dtype(x.dtype));
  run_on_device(
      ctx, [&] { cpu::layer_norm_backward(grads, partial, dy, x, stats, gamma); },
      [&] { cuda::layer_norm_backward(ctx, grads, partial, dy, x, stats, gamma); });
}

}  // namespace viaduct::ops
