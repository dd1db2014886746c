// How long a call of a single op takes on a device, with operands that lie in memory and not in its caches.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "app/bench.hpp"
#include "core/device/context.hpp"

namespace viaduct::app {

// Elements are drawn uniformly from [low, high), of integers too; low = high: all are that number.
struct OpOperand {
  Shape shape;
  DType dtype = DType::f32;
  bool updated = false;  // read and written
  double low = -1, high = 1;
};

struct MeasuredOp {
  std::string name, shape;
  std::vector<OpOperand> operands;
  std::function<void(Ctx&, const std::vector<Tensor>& operands)> run;
  double flops = 0;  // of matrix products

  double bytes() const;  // that it must read and write: every operand once, or twice where it is updated
};

struct OpTiming {
  DType dtype = DType::f32;        // of the context
  int64_t steps = 10, warmup = 2;  // rounds of several calls
  double round_seconds = 5e-3;     // at least
  bool graph = true;               // cuda: a round is replayed as one graph, as a step of training is
};

// Seconds of a call, the middle and the best of the rounds, by the device's own time (core/device/device_timer.hpp).
// Calls take other operands in turn, together twice the last cache, but of small ops 16 sets at most. Matrix products
// use the fastest algorithm that the device's library has (core/ops/product_algorithms.hpp).
StepTimes time_op(Device, const MeasuredOp&, const OpTiming&);

}  // namespace viaduct::app
