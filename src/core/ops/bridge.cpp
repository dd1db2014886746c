#include "core/ops/bridge.hpp"

#include "core/ops/cpu/bridge.hpp"
#include "core/ops/cuda/bridge.hpp"
#include "core/ops/dispatch.hpp"
#include "core/ops/operand_check.hpp"

namespace viaduct::ops {
namespace {

void check_inputs(const OperandCheck& check, const Tensor& h, const Tensor& c, const Tensor& s, Bridge kind) {
  check.same_size("c", c, h);
  if (kind != Bridge::add) check("s", s, {1}, h.dtype);
  check.that(bool(s) == (kind != Bridge::add), "an addition has no scalar", s);
}

}  // namespace

void bridge(Ctx& ctx, Tensor y, Tensor h, Tensor c, Tensor s, Bridge kind) {
  OperandCheck check{ctx, "bridge"};
  check_inputs(check, h, c, s, kind);
  check.same_size("y", y, h);
  run_on_device(
      ctx, [&] { cpu::bridge(y, h, c, s, kind); }, [&] { cuda::bridge(ctx, y, h, c, s, kind); });
}

void bridge_backward(Ctx& ctx, const BridgeGrads& grads, Tensor dy, Tensor h, Tensor c, Tensor s, Bridge kind) {
  OperandCheck check{ctx, "bridge_backward"};
  check_inputs(check, h, c, s, kind);
  check.same_size("dy", dy, h);
  if (grads.dh) check.same_size("dh", grads.dh, h);
  if (grads.dc) check.same_size("dc", grads.dc, h);
  if (grads.ds) check("ds", grads.ds, {1}, stat_dtype(h.dtype));
  auto scope = ctx.arena.scope("bridge_backward");
  int64_t blocks = of_backend(
      ctx, [&] { return cpu::bridge_blocks(h.numel()); }, [&] { return cuda::bridge_blocks(h.numel()); });
  Tensor partial = ctx.arena.temp({blocks}, stat_dtype(h.dtype));
  run_on_device(
      ctx, [&] { cpu::bridge_backward(grads, partial, dy, h, c, s, kind); },
      [&] { cuda::bridge_backward(ctx, grads, partial, dy, h, c, s, kind); });
}

}  // namespace viaduct::ops
