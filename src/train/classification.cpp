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

Batch ClassificationTask::blank_batch(Device device, int64_t samples) const {
  int64_t size = model_.config().image_size;
  Batch batch;
  int64_t pixel_bytes = align_up(samples * size * size * 3, 64);
  batch.storage = std::make_shared<Buffer>(device, pixel_bytes + 64 * samples);
  batch.pixels = batch.storage->view(0, {samples, size, size, 3}, DType::u8);
  batch.labels = batch.storage->view(pixel_bytes, {samples}, DType::i32);
  batch.keys = batch.storage->view(pixel_bytes + 8 * samples, {samples}, DType::i64);
  batch.samples.resize(size_t(samples));
  return batch;
}

}  // namespace viaduct
