#include "app/device_rates.hpp"

#include "app/host_info.hpp"
#include "app/op_timing.hpp"
#include "core/ops/linear.hpp"

namespace viaduct::app {
namespace {

constexpr int64_t kCopied = 16;         // bytes an element of a square
constexpr double kRoundSeconds = 0.05;  // long enough for clocks to settle as they do in a training

}  // namespace

DeviceRates measure_rates(Device device, DType dtype, int64_t side) {
  if (!device.is_cuda()) {
    const ProductRate products = measure_products();
    return {2 * measure_copy(), dtype == DType::bf16 && products.bf16 > 0 ? products.bf16 : products.fp32};
  }
  const Shape square{side, side};
  const OpOperand memory{{side, side, kCopied}, DType::u8, false, 0, 256}, matrix{square, dtype};
  const MeasuredOp copy{
      "copy", "", {memory, memory}, [](Ctx& ctx, const std::vector<Tensor>& t) { transfer(t[0], t[1], ctx.stream); }};
  const MeasuredOp product{"product",
                           "",
                           {matrix, matrix, matrix},
                           [](Ctx& ctx, const std::vector<Tensor>& t) { ops::linear(ctx, t[0], t[1], t[2]); },
                           2.0 * double(side) * double(side) * double(side)};
  const OpTiming timing{.dtype = dtype, .round_seconds = kRoundSeconds};
  return {copy.bytes() / time_op(device, copy, timing).median, product.flops / time_op(device, product, timing).median};
}

int64_t side_that_fits(int64_t wanted, int64_t free_bytes) {
  int64_t side = wanted;
  while (side > 1 && 2 * kCopied * side * side > free_bytes / 4 * 3) side /= 2;
  return side;
}

}  // namespace viaduct::app
