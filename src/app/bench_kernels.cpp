// The ops of a training step of a ViT that are bound by memory, in the sizes of [model].
#include "app/bench_ops.hpp"
#include "core/ops/layer_norm.hpp"
#include "core/ops/loss.hpp"
#include "core/ops/patch.hpp"
#include "core/ops/update.hpp"

namespace viaduct::app {
namespace {

using Tensors = std::vector<Tensor>;
constexpr int64_t kClasses = 1000;  // ImageNet's; those of the data are not known
constexpr float kDropout = 0.1f;

struct Sizes {
  int64_t batch, image, patch, tokens, channels, inner, parameters;
  DType dtype;

  OpOperand hidden(bool updated = false) const { return {{batch, tokens, channels}, dtype, updated}; }
  OpOperand widened() const { return {{batch, tokens, inner}, dtype}; }
  OpOperand channel_row(DType t, bool updated = false) const { return {{channels}, t, updated}; }
  OpOperand statistic() const { return {{batch * tokens}, DType::f32, false, 0.5, 1.5}; }
  OpOperand flat(DType t, bool updated, double low = -1) const { return {{parameters}, t, updated, low, 1}; }
};

std::vector<MeasuredOp> norms(const Sizes& s) {
  return {{"layer_norm",
           dims(s.hidden().shape),
           {s.hidden(), s.statistic(), s.statistic(), s.hidden(), s.channel_row(s.dtype), s.channel_row(s.dtype)},
           [](Ctx& ctx, const Tensors& t) {
             ops::layer_norm(ctx, t[0], {t[1], t[2]}, t[3], t[4], t[5], 1e-12);
           }},
          {"layer_norm_backward",
           dims(s.hidden().shape),
           {s.hidden(true), s.hidden(), s.hidden(), s.statistic(), s.statistic(), s.channel_row(s.dtype),
            s.channel_row(DType::f32, true), s.channel_row(DType::f32, true)},
           [](Ctx& ctx, const Tensors& t) {
             ops::layer_norm_backward(ctx, {t[0], t[6], t[7], true}, t[1], t[2], {t[3], t[4]}, t[5]);
           }}};
}

std::vector<MeasuredOp> elementwise(const Sizes& s) {
  const OpOperand keys{{s.batch}, DType::i64, false, 0, 1e9};
  return {{"gelu",
           dims(s.widened().shape),
           {s.widened(), s.widened()},
           [](Ctx& ctx, const Tensors& t) { ops::activation(ctx, t[0], t[1], ops::Activation::gelu); }},
          {"gelu_backward",
           dims(s.widened().shape),
           {s.widened(), s.widened(), s.widened()},
           [](Ctx& ctx, const Tensors& t) { ops::activation_backward(ctx, t[0], t[1], t[2], ops::Activation::gelu); }},
          {"add",
           dims(s.hidden().shape),
           {s.hidden(), s.hidden(), s.hidden()},
           [](Ctx& ctx, const Tensors& t) { ops::add(ctx, t[0], t[1], t[2]); }},
          {"dropout", dims(s.hidden().shape), {s.hidden(), s.hidden(), keys}, [](Ctx& ctx, const Tensors& t) {
             Ctx keyed = ctx;
             keyed.sample_keys = t[2];
             ops::dropout(keyed, t[0], t[1], {kDropout, 1});
           }}};
}

std::vector<MeasuredOp> ends(const Sizes& s) {
  const OpOperand logits{{s.batch, kClasses}, s.dtype}, labels{{s.batch}, DType::i32, false, 0, double(kClasses)};
  const OpOperand pixels{{s.batch, s.image, s.image, 3}, DType::u8, false, 0, 256};
  const OpOperand patches{{s.batch, s.tokens - 1, 3 * s.patch * s.patch}, s.dtype};
  return {{"cross_entropy",
           dims(logits.shape),
           {{{s.batch}}, logits, logits, labels},
           [](Ctx& ctx, const Tensors& t) { ops::cross_entropy(ctx, t[0], t[1], t[2], t[3]); }},
          {"patchify", dims(pixels.shape), {patches, pixels}, [patch = s.patch](Ctx& ctx, const Tensors& t) {
             ops::patchify(ctx, t[0], t[1], patch, {});
           }}};
}

std::vector<MeasuredOp> updates(const Sizes& s) {
  const bool copied = s.dtype != DType::f32;  // a compute copy beside the fp32 values
  const OpOperand scalars{{ops::step_scalar::count}, DType::f64, false, 1e-3, 1e-3};
  std::vector<OpOperand> adamw{s.flat(DType::f32, true), s.flat(DType::f32, true), s.flat(DType::f32, true, 0),
                               s.flat(DType::f32, false), scalars};
  if (copied) adamw.push_back(s.flat(s.dtype, false));
  return {{"adamw", dims({s.parameters}), adamw,
           [copied](Ctx& ctx, const Tensors& t) {
             ops::adamw(ctx, {.value = copied ? t[5] : t[0],
                              .master = t[0],
                              .m = t[1],
                              .v = t[2],
                              .grad = t[3],
                              .scalars = t[4],
                              .weight_decay = 0.01});
           }},
          {"squared_norm",
           dims({s.parameters}),
           {{{1}, DType::f64}, s.flat(DType::f32, false)},
           [](Ctx& ctx, const Tensors& t) { ops::squared_norm(ctx, t[0], t[1]); }}};
}

}  // namespace

BenchResult bench_kernels(const Invocation& call) {
  const VitShape vit = vit_shape(call);
  const Sizes s{.batch = op_batch_size(call.config),
                .image = vit.config.image_size,
                .patch = vit.config.patch_size,
                .tokens = vit.config.tokens(),
                .channels = vit.config.hidden_size,
                .inner = vit.config.intermediate_size,
                .parameters = vit.parameters,
                .dtype = op_dtype(call.config)};
  std::vector<MeasuredOp> ops;
  for (const auto& group : {norms(s), elementwise(s), ends(s), updates(s)})
    ops.insert(ops.end(), group.begin(), group.end());
  return bench_ops(call, ops);
}

}  // namespace viaduct::app
