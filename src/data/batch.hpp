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

struct Batch {
  Tensor pixels;                         // [B, H, W, 3] uint8
  Tensor labels;                         // [B] int32; absent when the data has none
  Tensor keys;                           // [B] int64: sample_key(seed, epoch, sample), Ctx::sample_keys
  std::vector<int64_t> samples;          // [B] indices in the dataset, after substitution
  std::vector<Quarantined> quarantined;  // what could not be read while this batch was made, failed substitutes too
  int64_t replaced = 0;                  // places whose own sample is among them
  std::shared_ptr<Buffer> storage;       // owns the tensors' memory
  int64_t size() const { return int64_t(samples.size()); }
};

}  // namespace viaduct
