#include "models/feature_loss.hpp"

#include "core/ops/distillation.hpp"
#include "models/hf_layout.hpp"

namespace viaduct {

FeatureLoss::FeatureLoss(ParameterStore& store, std::vector<LayerPair> pairs, int64_t student_width,
                         int64_t teacher_width, double weight)
    : store_(store), pairs_(std::move(pairs)), weight_(weight) {
  if (student_width == teacher_width) return;
  for (const LayerPair& p : pairs_) {
    const std::string name = fmt::format("{}projection.{}.{}", kLearningOnly, p.student, p.teacher);
    ranges_.push_back(store.block(
        name, [&] { projections_.emplace_back(store, name, student_width, teacher_width, nn::Linear::Options{}); }));
  }
}

double FeatureLoss::weight(const Tensor& target) const {
  return weight_ / double(pairs_.size() * size_t(target.numel() / target.shape[0]));
}

Tensor FeatureLoss::project(Ctx& ctx, size_t pair, Tensor x) const {
  if (projections_.empty()) return x;
  Tensor y = ctx.arena.temp({x.shape[0], x.shape[1], projections_[pair].weight.shape[0]}, x.dtype);
  projections_[pair].forward(ctx, y, x);
  return y;
}

void FeatureLoss::forward(Ctx& ctx, GradSink& sink, Tensor losses, const std::vector<Tensor>& outputs,
                          const std::vector<Tensor>& targets) const {
  for (size_t p = 0; p < pairs_.size(); ++p) {
    auto scope = ctx.arena.scope("features");
    if (!ranges_.empty()) sink.need(ranges_[p]);
    const Tensor y = project(ctx, p, outputs[size_t(pairs_[p].student - 1)]);
    ops::squared_error(ctx, losses, {}, y, targets[p], weight(targets[p]));
  }
}

void FeatureLoss::backward(Ctx& ctx, GradSink& sink, int64_t layer, Tensor d, const std::vector<Tensor>& outputs,
                           const std::vector<Tensor>& targets) {
  for (size_t p = 0; p < pairs_.size(); ++p) {
    if (pairs_[p].student != layer) continue;
    auto scope = ctx.arena.scope("features");
    const Tensor x = outputs[size_t(layer - 1)], y = project(ctx, p, x);
    if (projections_.empty()) {
      ops::squared_error(ctx, {}, d, y, targets[p], weight(targets[p]));
      continue;
    }
    Tensor dy = ctx.arena.temp(y.shape, y.dtype);
    ops::fill(ctx, dy, 0);
    ops::squared_error(ctx, {}, dy, y, targets[p], weight(targets[p]));
    store_.open(ranges_[p], sink);
    projections_[p].backward(ctx, d, dy, x, {.accumulate = true});
    sink.ready(ranges_[p]);
  }
}

}  // namespace viaduct
