// A frozen model whose answers a student learns. It has weights without gradients, is never trained, and its forward keeps
// nothing.
#pragma once
#include <optional>

#include "comm/communicator.hpp"
#include "core/ops/packed_weights.hpp"
#include "models/vit_classifier.hpp"
#include "train/model_source.hpp"

namespace viaduct {

class Teacher {
 public:
  explicit Teacher(const ModelSource&);

  // Memory for the weights. On Device::meta, where the forward then says how much it needs for their other layout.
  void materialize(Device, DType);
  int64_t bytes();  // of the weights, in both layouts
  // Collective: rank 0 reads, the others are sent the values.
  void load(Communicator&, Stream&);
  const std::string& hash() const { return hash_; }  // XXH3 of the values, once they are loaded
  const ModelSource& source() const { return source_; }
  const VitClassifier& model() const { return model_; }

  // logits [B, C] of the pixels [B, H, W, 3]: a temporary of the enclosing scope.
  Tensor logits(Ctx&, Tensor pixels);

 private:
  ModelSource source_;
  VitClassifier model_;
  std::optional<ops::PackedWeights> packed_;  // its own: these never change, those of the student in every step
  std::string hash_;
};

}  // namespace viaduct
