// A frozen model whose answers a student learns. It has weights without gradients, is never trained, and its forward
// keeps nothing.
#pragma once
#include <memory>
#include <optional>

#include "comm/communicator.hpp"
#include "core/ops/packed_weights.hpp"
#include "train/classification.hpp"
#include "train/model_source.hpp"
#include "train/teacher_cache.hpp"

namespace viaduct {

struct TeacherOptions {
  bool whole_last = false;  // somebody looks at all tokens of the last layer
  bool cached = false;      // open_cache() will be called, and memory is planned for it
};

class Teacher {
 public:
  Teacher(const ModelSource&, TeacherOptions);

  // Memory for the weights. On Device::meta, where the forward then says how much it needs for their other layout.
  void materialize(Device, DType);
  int64_t bytes();  // of the weights, in both layouts
  // Collective: rank 0 reads, the others are sent the values.
  void load(Communicator&, Stream&);
  const std::string& hash() const { return hash_; }  // XXH3 of the values, once they are loaded
  const ModelSource& source() const { return source_; }
  const VitClassifier& model() { return task_.model(); }
  int64_t parameter_count() { return task_.parameters().count(); }

  // task.cache, if it is given: answers are then looked up, and kept. `data`: what the training data are, in words.
  void open_cache(const Config&, const std::string& data);
  const TeacherCache* cache() const { return cache_.get(); }
  void flush_cache() {  // with every checkpoint
    if (cache_) cache_->flush();
  }
  bool cached() const { return options_.cached; }

  // logits [B, C] for a batch: a temporary of the enclosing scope. `look`: see Vit; not with a cache.
  Tensor answers(Ctx&, const Batch&, const Vit::Look& look = {});
  // The same two without a cache, as any classifier's.
  void evaluate(Ctx&, const Batch&, Metrics&);
  Tensor predict(Ctx&, const Batch&);

 private:
  Ctx own(Ctx&);  // not in training: no dropout; its weights are packed apart
  Tensor looked_up(Ctx&, const Batch&);

  ModelSource source_;
  TeacherOptions options_;
  ClassificationTask task_;
  std::optional<ops::PackedWeights> packed_;  // these never change, those of the student in every step
  std::string hash_;
  std::unique_ptr<TeacherCache> cache_;
};

}  // namespace viaduct
