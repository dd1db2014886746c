#include "train/classification.hpp"

#include <algorithm>

#include "core/ops/loss.hpp"

namespace viaduct {

void ClassificationTask::evaluate(Ctx& ctx, const Batch& batch, Metrics& metrics) {
  metrics.add("eval_loss", 0, 0);
  metrics.add("eval_accuracy", 0, 0);
  if (batch.size() == 0) return;
  auto scope = ctx.arena.scope("evaluate");
  Tensor logits = model_.forward(ctx, batch.pixels);
  int64_t B = logits.shape[0], C = logits.shape[1];
  Tensor losses = ctx.arena.temp({B}, DType::f32), plain = ctx.arena.temp(logits.shape, DType::f32);
  ops::cross_entropy(ctx, losses, {}, logits, batch.labels);
  ops::copy(ctx, plain, logits);
  if (ctx.device().is_meta()) return;
  ctx.stream.synchronize();
  for (int64_t b = 0; b < B; ++b) {
    const float* row = data<float>(plain) + b * C;
    metrics.add("eval_loss", data<float>(losses)[b], 1);
    metrics.add("eval_accuracy", std::max_element(row, row + C) - row == data<int32_t>(batch.labels)[b], 1);
  }
}

}  // namespace viaduct
