// What every op says when it is handed the wrong operand: the op, the operand, what was expected and what was found.
#pragma once
#include "core/device/context.hpp"

namespace viaduct::ops {

// The checks of one op: OperandCheck check{ctx, "layer_norm"}; check("gamma", gamma, {columns}, x.dtype);
struct OperandCheck {
  const Ctx& ctx;
  const char* op;
  std::source_location where = std::source_location::current();

  void operator()(const char* operand, const Tensor& t, const Shape& shape, DType dtype) const {
    if (t.shape == shape && t.dtype == dtype && t.device == ctx.device()) return;
    Tensor expected{nullptr, shape, dtype, ctx.device()};
    fail(Exit::crash, fmt::format("{}: {} should be {}, found {}", op, operand, to_string(expected), to_string(t)),
         where);
  }
  // As many elements as `like` has, of its dtype, in whatever shape: enough for what works element by element.
  void same_size(const char* operand, const Tensor& t, const Tensor& like) const {
    same_size(operand, t, like, like.dtype);
  }
  void same_size(const char* operand, const Tensor& t, const Tensor& like, DType dtype) const {
    if (t.numel() == like.numel() && t.dtype == dtype && t.device == ctx.device()) return;
    (*this)(operand, t, like.shape, dtype);
    fail(Exit::crash, fmt::format("{}: {} is not on the device of the context", op, operand), where);
  }
  void that(bool ok, const char* requirement, const Tensor& found) const {
    if (!ok) fail(Exit::crash, fmt::format("{}: {}, found {}", op, requirement, to_string(found)), where);
  }
};

}  // namespace viaduct::ops
