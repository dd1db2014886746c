#include "core/ops/step_tail.hpp"

#include "core/ops/cpu/step_tail.hpp"
#include "core/ops/cuda/step_tail.hpp"
#include "core/ops/dispatch.hpp"
#include "core/ops/operand_check.hpp"

namespace viaduct::ops {
namespace {

void check_sums(const OperandCheck& check, const Tensor& sums) { check("sums", sums, {step_sum::count}, DType::f64); }
void check_slot(const OperandCheck& check, const Tensor& slot) {
  check("slot", slot, {kTailSlot}, stat_dtype(slot.dtype));
}

}  // namespace

void add_counts(Ctx& ctx, Tensor sums, Tensor counts) {
  OperandCheck check{ctx, "add_counts"};
  check_sums(check, sums);
  check("counts", counts, {2}, DType::f64);
  run_on_device(
      ctx, [&] { cpu::add_counts(sums, counts); }, [&] { cuda::add_counts(ctx, sums, counts); });
}

void add_losses(Ctx& ctx, Tensor sums, Tensor losses, int64_t terms) {
  OperandCheck check{ctx, "add_losses"};
  check_sums(check, sums);
  check("losses", losses, losses.shape, stat_dtype(losses.dtype));
  run_on_device(
      ctx, [&] { cpu::add_losses(sums, losses, terms); }, [&] { cuda::add_losses(ctx, sums, losses, terms); });
}

void write_step_tail(Ctx& ctx, Tensor slot, Tensor sums) {
  OperandCheck check{ctx, "write_step_tail"};
  check_sums(check, sums), check_slot(check, slot);
  run_on_device(
      ctx, [&] { cpu::write_step_tail(slot, sums); }, [&] { cuda::write_step_tail(ctx, slot, sums); });
}

void read_step_tail(Ctx& ctx, Tensor sums, Tensor slot) {
  OperandCheck check{ctx, "read_step_tail"};
  check_sums(check, sums), check_slot(check, slot);
  run_on_device(
      ctx, [&] { cpu::read_step_tail(sums, slot); }, [&] { cuda::read_step_tail(ctx, sums, slot); });
}

}  // namespace viaduct::ops
