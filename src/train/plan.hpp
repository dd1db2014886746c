// How much memory a step takes, to the byte, before a device is touched: the step itself is run on Device::meta.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "train/task.hpp"

namespace viaduct {

struct StepShape {
  int64_t batch_size = 8;
  DType dtype = DType::f32;
  Device::Kind device = Device::Kind::cpu;
  bool training = true;      // false: evaluation and prediction only
  int64_t batches_held = 1;  // by the loaders, those in use included
  GradSyncOptions sync;
  int rank = 0, ranks = 1;   // the first has the largest part of what a strategy divides
  double average_decay = 0;  // of the moving average of the weights; 0: there is none
};

// Bytes of one rank.
struct MemoryPlan {
  int64_t parameters = 0, gradients = 0, optimizer = 0;
  int64_t teacher = 0;      // whom a student learns from: weights, in both layouts
  int64_t packed = 0;       // weights once more, in the layout of the products
  int64_t activations = 0;  // the arena: kept and temporary together at their common peak
  int64_t kept = 0, temporary = 0;
  int64_t step = 0;                       // the batch that is worked on and the numbers of the step, on a cuda device
  int64_t batches = 0;                    // decoded images waiting, in host memory
  std::map<std::string, int64_t> scopes;  // of the arena's peak
  int64_t on_device() const { return parameters + teacher + gradients + optimizer + packed + activations + step; }
  int64_t total() const { return on_device() + batches; }
};

// The gradients that a rank keeps in the store; absent: all.
std::optional<Range> kept_gradients(const StepShape&, const ParameterStore&);

using MakeTask = std::function<std::unique_ptr<Task>()>;
MemoryPlan plan_memory(const MakeTask&, const StepShape&);

// The largest number from 1 to 2^20 for which `fits` holds, as it does for all smaller ones; 0: for none.
int64_t largest_where(const std::function<bool(int64_t)>& fits);

// The largest batch whose plan fits into `bytes` of the device (of the host, when that is the device); 0 when not even one sample does.
int64_t largest_batch(const MakeTask&, StepShape, int64_t bytes);

}  // namespace viaduct
