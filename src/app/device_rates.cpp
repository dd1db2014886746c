#include "app/device_rates.hpp"

#include <algorithm>

#include "app/host_info.hpp"
#include "app/op_timing.hpp"
#include "core/device/gpus.hpp"
#include "core/ops/linear.hpp"

namespace viaduct::app {
namespace {

constexpr int64_t kCopied = 16;         // bytes an element of a square
constexpr double kRoundSeconds = 0.05;  // long enough for clocks to settle as they do in a training

constexpr int64_t kLargestSide = 8192, kSmallestSide = 64;
constexpr double kEnoughSeconds = 1e-3;  // of one product: on a device that needs them a larger one says no more

MeasuredOp product(int64_t side, DType dtype) {
  const OpOperand matrix{{side, side}, dtype};
  return {"product",
          "",
          {matrix, matrix, matrix},
          [](Ctx& ctx, const std::vector<Tensor>& t) { ops::linear(ctx, t[0], t[1], t[2]); },
          2.0 * double(side) * double(side) * double(side)};
}

MeasuredOp copy(int64_t side) {
  const OpOperand memory{{side, side, kCopied}, DType::u8, false, 0, 256};
  return {
      "copy", "", {memory, memory}, [](Ctx& ctx, const std::vector<Tensor>& t) { transfer(t[0], t[1], ctx.stream); }};
}

}  // namespace

DeviceRates measure_rates(Device device, DType dtype) {
  if (!device.is_cuda()) {
    const ProductRate products = measure_products();
    return {2 * measure_copy(), dtype == DType::bf16 && products.bf16 > 0 ? products.bf16 : products.fp32};
  }
  const int64_t most = side_that_fits(gpu(device.index).free_bytes);
  const OpTiming glance{.dtype = dtype, .steps = 1, .warmup = 0, .round_seconds = 0};
  int64_t side = std::min(kSmallestSide, most);
  while (2 * side <= most && time_op(device, product(side, dtype), glance).median < kEnoughSeconds) side *= 2;
  const OpTiming timing{.dtype = dtype, .round_seconds = kRoundSeconds};
  const MeasuredOp copied = copy(side), multiplied = product(side, dtype);
  return {copied.bytes() / time_op(device, copied, timing).median,
          multiplied.flops / time_op(device, multiplied, timing).median, side};
}

int64_t side_that_fits(int64_t free_bytes) {
  int64_t side = kLargestSide;
  while (side > 1 && 2 * kCopied * side * side > free_bytes / 4 * 3) side /= 2;
  return side;
}

}  // namespace viaduct::app
