// Feature distillation: what layers of a student give against what layers of its teacher give. The mean over pairs of
// layers, tokens and channels of (project(student) - teacher)^2; the projection is learned, and there is none where
// both have the same width.
#pragma once
#include <deque>
#include <optional>
#include <vector>

#include "core/nn/linear.hpp"

namespace viaduct {

struct LayerPair {
  int64_t student, teacher;  // from 1
};

class FeatureLoss {
 public:
  // Registers a block for each projection; they are used in learning only.
  FeatureLoss(ParameterStore&, std::vector<LayerPair>, int64_t student_width, int64_t teacher_width, double weight);

  // outputs: of every layer of the student, [B, T, width]; targets: of the teacher, one for each pair. Added to losses
  // [B].
  void forward(Ctx&, GradSink&, Tensor losses, const std::vector<Tensor>& outputs,
               const std::vector<Tensor>& targets) const;
  // Adds to d [B, T, width], the gradient of what that layer of the student gives, and reports its projections.
  void backward(Ctx&, GradSink&, int64_t layer, Tensor d, const std::vector<Tensor>& outputs,
                const std::vector<Tensor>& targets);

 private:
  Tensor project(Ctx&, size_t pair, Tensor x) const;  // a temporary of the enclosing scope, or x
  double weight(const Tensor& target) const;          // of one squared difference

  ParameterStore& store_;
  std::vector<LayerPair> pairs_;
  std::vector<Range> ranges_;
  std::deque<nn::Linear> projections_;  // as many as pairs, or none
  double weight_;
};

}  // namespace viaduct
