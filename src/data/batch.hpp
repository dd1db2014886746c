// What a model is given: raw bytes, because normalisation is an op of the device, and ids, because randomness, teacher
// caches and reports are keyed by sample.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/device/buffer.hpp"

namespace viaduct {

struct Quarantined {
  int64_t sample = 0;  // index in the dataset
  std::string id;      // its path or line
  std::string reason;
};

// Token ids of one text a sample, padded on the right to the same T on every rank.
struct TextTensors {
  Tensor ids;   // [B, T] int32
  Tensor mask;  // [B, T] int32: 1 for tokens, 0 for padding
  explicit operator bool() const { return bool(ids); }
};

struct Batch {
  Tensor pixels;                         // [B, H, W, 3] uint8
  Tensor labels;                         // [B] int32; absent when the data has none
  Tensor other_labels, shares;           // [B] int32, fp32: images that are mixed with others (data/mixing.hpp): the
                                         // other's label, and the share of the image's own; absent: none are
  TextTensors text;                      // the sample's own text; absent without texts
  TextTensors pair;                      // image-text matching: the text to be judged, with
  Tensor pair_labels;                    // [B] int32: 1 where it belongs to the image, else 0
  Tensor masked_ids, masked_labels;      // [B, T] int32, masked language modelling: `text` with tokens hidden, and what
                                         // was there, ops::kIgnoredLabel elsewhere; the mask is that of `text`
  Tensor keys;                           // [B] int64: sample_key(seed, epoch, sample), Ctx::sample_keys
  int64_t step_samples = 0;              // training: of the whole step, all ranks and passes
  int64_t step_masked = 0;               // and the masked tokens of masked_labels among them
  std::vector<std::string> images;       // [B] which image a text belongs to; empty without texts
  std::vector<int64_t> samples;          // [B] indices in the dataset, after substitution
  std::vector<Quarantined> quarantined;  // what could not be read while this batch was made, failed substitutes too
  int64_t replaced = 0;                  // places whose own sample is among them
  std::shared_ptr<Buffer> storage;       // owns the tensors' memory
  std::shared_ptr<const Batch> host;  // the batch that these tensors were copied from; absent: they are the host's own
  int64_t size() const { return int64_t(samples.size()); }
  const Batch& on_host() const { return host ? *host : *this; }
};

// All that has a row for every sample; some of it may be absent.
inline std::vector<Tensor*> tensors_of(Batch& b) {
  return {&b.pixels,    &b.labels,   &b.other_labels, &b.shares,     &b.keys,          &b.text.ids,
          &b.text.mask, &b.pair.ids, &b.pair.mask,    &b.masked_ids, &b.masked_labels, &b.pair_labels};
}

}  // namespace viaduct
