#include "train/step_cut.hpp"

#include <algorithm>

#include "core/base/check.hpp"

namespace viaduct {
namespace {
bool invariant(const Config& config) { return config.parallel.reduction == "invariant"; }
}  // namespace

StepCut step_cut(const Config& config) {
  const TrainSection& train = config.train;
  if (train.batch_size == 0) fail_config("train.batch_size = auto is for viaduct train and plan; give a number here");
  if (!invariant(config)) return {train.batch_size, train.accumulate};
  return {config.parallel.micro_batch, train.batch_size * train.accumulate / config.parallel.micro_batch};
}

GradSyncOptions grad_sync_options(const Config& config, const TaskChoice& choice, int64_t ranks) {
  const bool bf16 = config.parallel.wire == "bf16";
  return {.strategy = config.parallel.strategy,
          .bucket_mb = config.parallel.bucket_mb,
          .wire = {.type = invariant(config) ? DType::i64
                           : bf16            ? DType::bf16
                                             : DType::f32,
                   .addends = ranks * step_cut(config).passes * std::max(choice.losses(), 1)}};
}

}  // namespace viaduct
