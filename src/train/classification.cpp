#include "train/classification.hpp"

#include <algorithm>

#include "core/ops/host_values.hpp"
#include "core/ops/loss.hpp"

namespace viaduct {

void ClassificationTask::evaluate(Ctx& ctx, const Batch& batch, Metrics& metrics) {
  metrics.add("eval_loss", 0, 0);
  metrics.add("eval_accuracy", 0, 0);
  if (batch.size() == 0) return;
  auto scope = ctx.arena.scope("evaluate");
  Tensor logits = model_.forward(ctx, batch.pixels);
  int64_t B = logits.shape[0], C = logits.shape[1];
  Tensor losses = ctx.arena.temp({B}, DType::f32);
  ops::cross_entropy(ctx, losses, {}, logits, batch.labels);
  std::vector<float> values = ops::host_values(ctx, losses), scores = ops::host_values(ctx, logits);
  if (ctx.device().is_meta()) return;
  for (int64_t b = 0; b < B; ++b) {
    auto row = scores.begin() + b * C;
    metrics.add("eval_loss", values[size_t(b)], 1);
    metrics.add("eval_accuracy", std::max_element(row, row + C) - row == data<int32_t>(batch.on_host().labels)[b], 1);
  }
}

}  // namespace viaduct
