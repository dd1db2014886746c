#include "train/blank_batch.hpp"

#include "core/base/range.hpp"

namespace viaduct {

Batch blank_batch(Device device, int64_t samples, int64_t image_size, int64_t text_tokens, bool mixes) {
  Batch batch;
  struct Piece {
    Tensor* tensor;
    Shape shape;
    DType dtype;
  };
  std::vector<Piece> pieces = {{&batch.pixels, {samples, image_size, image_size, 3}, DType::u8},
                               {&batch.labels, {samples}, DType::i32},
                               {&batch.keys, {samples}, DType::i64}};
  if (mixes) {
    pieces.push_back({&batch.other_labels, {samples}, DType::i32});
    pieces.push_back({&batch.shares, {samples}, DType::f32});
  }
  if (text_tokens > 0) {
    for (Tensor* t : {&batch.text.ids, &batch.text.mask, &batch.pair.ids, &batch.pair.mask, &batch.masked_ids,
                      &batch.masked_labels})
      pieces.push_back({t, {samples, text_tokens}, DType::i32});
    pieces.push_back({&batch.pair_labels, {samples}, DType::i32});
  }
  auto bytes = [](const Piece& p) { return align_up(p.shape.numel() * size_of(p.dtype), 64); };
  int64_t total = 0, at = 0;
  for (const Piece& p : pieces) total += bytes(p);
  batch.storage = std::make_shared<Buffer>(device, total);
  for (const Piece& p : pieces) *p.tensor = batch.storage->view(at, p.shape, p.dtype), at += bytes(p);
  batch.samples.resize(size_t(samples));
  batch.step_samples = batch.step_masked = samples;
  return batch;
}

}  // namespace viaduct
