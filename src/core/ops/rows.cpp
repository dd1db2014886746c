#include "core/ops/rows.hpp"

#include "core/ops/cpu/rows.hpp"
#include "core/ops/cuda/rows.hpp"
#include "core/ops/dispatch.hpp"
#include "core/ops/operand_check.hpp"

namespace viaduct::ops {
namespace {

void check_joined(const OperandCheck& check, const Tensor& y, const Tensor& a, const Tensor& b) {
  check.that(a.shape.rank == 2 && b.shape.rank == 2, "what is joined has rows and columns", y);
  check("b", b, {a.shape[0], b.shape[1]}, a.dtype);
  check("y", y, {a.shape[0], a.shape[1] + b.shape[1]}, a.dtype);
}

}  // namespace

void gather_rows(Ctx& ctx, Tensor y, Tensor x, Tensor index) {
  OperandCheck check{ctx, "gather_rows"};
  check("index", index, {index.numel()}, DType::i32);
  check("y", y, {index.numel(), x.shape.last()}, x.dtype);
  run_on_device(
      ctx, [&] { cpu::gather_rows(y, x, index); }, [&] { cuda::gather_rows(ctx, y, x, index); });
}

void scatter_rows(Ctx& ctx, Tensor dx, Tensor dy, Tensor index, bool accumulate) {
  OperandCheck check{ctx, "scatter_rows"};
  check("index", index, {index.numel()}, DType::i32);
  check("dy", dy, {index.numel(), dx.shape.last()}, dx.dtype);
  run_or_plan(
      ctx,
      [&] {
        if (!ctx.device().is_meta()) cpu::scatter_rows(dx, dy, index, accumulate);
      },
      [&] { cuda::scatter_rows(ctx, dx, dy, index, accumulate); });
}

void join_columns(Ctx& ctx, Tensor y, Tensor a, Tensor b) {
  check_joined({ctx, "join_columns"}, y, a, b);
  run_on_device(
      ctx, [&] { cpu::join_columns(y, a, b); }, [&] { cuda::join_columns(ctx, y, a, b); });
}

void split_columns(Ctx& ctx, Tensor a, Tensor b, Tensor y) {
  check_joined({ctx, "split_columns"}, y, a, b);
  run_on_device(
      ctx, [&] { cpu::split_columns(a, b, y); }, [&] { cuda::split_columns(ctx, a, b, y); });
}

}  // namespace viaduct::ops
