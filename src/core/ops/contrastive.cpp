#include "core/ops/contrastive.hpp"

#include "core/ops/cpu/contrastive.hpp"
#include "core/ops/cuda/contrastive.hpp"
#include "core/ops/dispatch.hpp"
#include "core/ops/operand_check.hpp"

namespace viaduct::ops {

void l2_normalize(Ctx& ctx, Tensor y, Tensor x) {
  OperandCheck{ctx, "l2_normalize"}("y", y, x.shape, x.dtype);
  run_on_device(
      ctx, [&] { cpu::l2_normalize(y, x); }, [&] { cuda::l2_normalize(ctx, y, x); });
}

void l2_normalize_backward(Ctx& ctx, Tensor dx, Tensor dy, Tensor x) {
  OperandCheck check{ctx, "l2_normalize_backward"};
  check("dx", dx, x.shape, x.dtype);
  check("dy", dy, x.shape, x.dtype);
  run_on_device(
      ctx, [&] { cpu::l2_normalize_backward(dx, dy, x); }, [&] { cuda::l2_normalize_backward(ctx, dx, dy, x); });
}

void contrastive(Ctx& ctx, Tensor losses, const ContrastiveGrads& grads, const ContrastiveArgs& args) {
  OperandCheck check{ctx, "contrastive"};
  check.that(args.q.shape.rank == 2 && args.k.shape.rank == 2, "q and k are [rows, C]", args.q);
  int64_t rows = args.q.shape[0], keys = args.k.shape[0];
  check("k", args.k, {keys, args.q.shape[1]}, args.q.dtype);
  check.that(args.first >= 0 && args.first + rows <= keys, "every query has a key of its own", args.k);
  check("log_scale", args.log_scale, {1}, args.log_scale.dtype);
  check("losses", losses, {rows}, stat_dtype(args.q.dtype));
  if (grads.dq) check("dq", grads.dq, args.q.shape, args.q.dtype);
  if (grads.dk) check("dk", grads.dk, args.k.shape, args.q.dtype);
  if (grads.dlog_scale) check("dlog_scale", grads.dlog_scale, {1}, stat_dtype(args.q.dtype));
  run_or_plan(
      ctx, [&] { cpu::contrastive(ctx, losses, grads, args); }, [&] { cuda::contrastive(ctx, losses, grads, args); });
}

}  // namespace viaduct::ops
