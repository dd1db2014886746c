#include "train/image_text.hpp"

#include <algorithm>

#include "core/device/host_copy.hpp"
#include "core/ops/contrastive.hpp"
#include "core/ops/host_values.hpp"
#include "core/ops/loss.hpp"
#include "core/ops/rows.hpp"
#include "train/blank_batch.hpp"
#include "train/global_rows.hpp"

namespace viaduct {
namespace {

using Embeddings = BridgeTower::Embeddings;

// One loss of several: the blocks are final only after the last.
class PassSink final : public GradSink {
 public:
  PassSink(GradSink& sink, bool last) : sink_(sink), last_(last) {}
  void add_loss(Tensor losses, int64_t terms) override { sink_.add_loss(losses, terms); }
  void need(Range r) override { sink_.need(r); }
  Tensor open(Range r) override { return sink_.open(r); }
  void part(Range r) override { sink_.part(r); }
  void ready(Range r) override { last_ ? sink_.ready(r) : sink_.part(r); }

 private:
  GradSink& sink_;
  bool last_;
};

Embeddings zeros_like(Ctx& ctx, const Embeddings& e) {
  Embeddings zeros;
  for (auto part : {&Embeddings::text, &Embeddings::image, &Embeddings::cross}) {
    if (!(e.*part)) continue;
    zeros.*part = ctx.arena.temp((e.*part).shape, (e.*part).dtype);
    ops::fill(ctx, zeros.*part, 0);
  }
  return zeros;
}

// HF's three directions: text to image, text to pair, image to pair. Returns losses [R]: their weighted sums.
Tensor contrast(Ctx& ctx, const Embeddings& q, const Embeddings& k, const Embeddings& dq, const Embeddings& dk,
                Tensor log_scale, Tensor dlog_scale, int64_t first, double weight) {
  int64_t rows = q.text.shape[0];
  Tensor sum = ctx.arena.temp({rows}, stat_dtype(q.text.dtype)), one = ctx.arena.temp({rows}, sum.dtype);
  ops::fill(ctx, sum, 0);
  auto direction = [&](Tensor Embeddings::*from, Tensor Embeddings::*to) {
    ops::contrastive(ctx, one, {dq.*from, dk.*to, dlog_scale},
                     {.q = q.*from, .k = k.*to, .log_scale = log_scale, .first = first, .weight = weight / 3});
    ops::add(ctx, sum, sum, one);
  };
  direction(&Embeddings::text, &Embeddings::image);
  direction(&Embeddings::text, &Embeddings::cross);
  direction(&Embeddings::image, &Embeddings::cross);
  return sum;
}

Tensor scalar(Tensor t) { return t ? t.reshape({1}) : t; }

}  // namespace

ImageTextTask::ImageTextTask(const BridgeTowerConfig& config, const ImageTextOptions& options, Communicator* comm,
                             int64_t ranks)
    : options_(options),
      comm_(comm),
      ranks_(ranks),
      model_(config, options.normalization,
             {.itm = options.choice.itm > 0,
              .itc = options.choice.itc > 0,
              .mlm = options.choice.mlm > 0,
              .freeze_text = options.frozen.text,
              .freeze_vision = options.frozen.vision,
              .freeze_cross = options.frozen.cross,
              .recompute = options.recompute}),
      retrieval_(config.contrastive_hidden_size) {}

void ImageTextTask::train(Ctx& ctx, const Batch& batch, GradSink& sink) {
  const TaskChoice& choice = options_.choice;
  int left = choice.losses();
  int64_t terms = batch.size();  // a sample counts once, whatever the number of losses
  auto pass = [&](double weight, auto&& train_one) {
    if (weight == 0) return;
    PassSink counted(sink, --left == 0);
    auto scope = ctx.arena.scope("step");
    (this->*train_one)(ctx, batch, counted, std::exchange(terms, 0));
  };
  pass(choice.itc, &ImageTextTask::train_itc);  // first: it says which texts are similar
  pass(choice.mlm, &ImageTextTask::train_mlm);
  pass(choice.itm, &ImageTextTask::train_itm);
}

void ImageTextTask::train_nothing(Ctx& ctx, GradSink& sink) {
  if (options_.global_negatives) {  // the others wait for this rank's rows
    auto scope = ctx.arena.scope("step");
    Tensor none = ctx.arena.temp({0, model_.config().contrastive_hidden_size}, ctx.dtype);
    GlobalRows rows(ctx, {none, none}, options_.batch_size, comm_, ranks_);
    rows.reduce(ctx, {none, none});
  }
  for (int left = options_.choice.losses(); left-- > 0;) {
    PassSink counted(sink, left == 0);
    report_all(parameters(), counted);
  }
}

void ImageTextTask::train_itc(Ctx& ctx, const Batch& batch, GradSink& sink, int64_t terms) {
  ctx.enter(Phase::forward);
  auto saved = model_.new_saved();
  Embeddings e = model_.itc(ctx, &sink, matched(batch), saved.get()), d = zeros_like(ctx, e);
  if (options_.hard_negatives)
    similar_texts_ = ops::host_values(ctx, e.text), similar_images_ = ops::host_values(ctx, e.image);
  model_.open_logit_scale(sink);
  Tensor scale = scalar(model_.logit_scale().value), d_scale = scalar(model_.logit_scale().grad);
  if (options_.global_negatives) {
    GlobalRows all(ctx, {e.image, e.cross}, options_.batch_size, comm_, ranks_);
    Embeddings keys{{}, all.rows(0), all.rows(1)}, d_keys = zeros_like(ctx, keys);
    sink.add_loss(contrast(ctx, e, keys, d, d_keys, scale, d_scale, all.first(), options_.choice.itc), terms);
    auto own = all.reduce(ctx, {d_keys.image, d_keys.cross});
    ops::add(ctx, d.image, d.image, own[0]), ops::add(ctx, d.cross, d.cross, own[1]);
  } else {
    sink.add_loss(contrast(ctx, e, e, d, d, scale, d_scale, 0, options_.choice.itc), terms);
  }
  ctx.enter(Phase::backward);
  model_.itc_backward(ctx, sink, d, *saved);
}

void ImageTextTask::train_mlm(Ctx& ctx, const Batch& batch, GradSink& sink, int64_t terms) {
  ctx.enter(Phase::forward);
  auto saved = model_.new_saved();
  auto masked = model_.mlm(ctx, &sink, {batch.pixels, batch.masked_ids, batch.text.mask}, batch.on_host().masked_labels,
                           saved.get());
  // The mean over all masked tokens of the step, in units of samples.
  double weight = options_.choice.mlm * double(batch.step_samples) / double(std::max<int64_t>(batch.step_masked, 1));
  Tensor losses = ctx.arena.temp({masked.logits.shape[0]}, stat_dtype(ctx.dtype));
  ops::cross_entropy(ctx, losses, masked.logits, masked.logits, masked.labels, weight);
  sink.add_loss(losses, terms);
  ctx.enter(Phase::backward);
  model_.mlm_backward(ctx, sink, masked.logits, *saved);
}

void ImageTextTask::train_itm(Ctx& ctx, const Batch& batch, GradSink& sink, int64_t terms) {
  ctx.enter(Phase::forward);
  auto saved = model_.new_saved();
  Tensor logits = model_.itm(ctx, &sink, judged(ctx, batch), saved.get());
  Tensor losses = ctx.arena.temp({batch.size()}, stat_dtype(ctx.dtype));
  ops::cross_entropy(ctx, losses, logits, logits, batch.pair_labels, options_.choice.itm);
  sink.add_loss(losses, terms);
  ctx.enter(Phase::backward);
  model_.itm_backward(ctx, sink, logits, *saved);
}

// Of a mismatch the text becomes that text of another picture of the batch which is most similar to the image (Li et
// al. 2021, ALBEF, section 3.2), if it does not say the same word for word; where there is none it stays.
BridgeTower::Inputs ImageTextTask::judged(Ctx& ctx, const Batch& batch) const {
  if (!options_.hard_negatives) return {batch.pixels, batch.pair.ids, batch.pair.mask};
  Tensor ids = ctx.arena.temp(batch.pair.ids.shape, DType::i32), mask = ctx.arena.temp(ids.shape, DType::i32);
  if (ctx.device().is_meta()) return {batch.pixels, ids, mask};
  const Batch& host = batch.on_host();
  HostCopy chosen_ids(ids, ctx.stream, HostCopy::Fetch::no), chosen_mask(mask, ctx.stream, HostCopy::Fetch::no);
  int64_t B = batch.size(), T = ids.shape[1], C = model_.config().contrastive_hidden_size;
  auto belongs = [&](int64_t image, int64_t text) {
    const int32_t* words = data<int32_t>(host.text.ids);
    return batch.images[size_t(image)] == batch.images[size_t(text)] ||
           std::equal(words + image * T, words + image * T + T, words + text * T);
  };
  auto row = [&](Tensor to, Tensor from, int64_t i, int64_t j) {
    std::copy_n(data<int32_t>(from) + j * T, T, data<int32_t>(to) + i * T);
  };
  for (int64_t i = 0; i < B; ++i) {
    auto take = [&](const TextTensors& text, int64_t j) {
      row(chosen_ids.tensor(), text.ids, i, j), row(chosen_mask.tensor(), text.mask, i, j);
    };
    take(host.pair, i);
    if (data<int32_t>(host.pair_labels)[i] == 1) continue;
    double best = -2;  // below every cosine
    for (int64_t j = 0; j < B; ++j) {
      double similarity = 0;
      for (int64_t c = 0; c < C; ++c)
        similarity += double(similar_images_[size_t(i * C + c)]) * similar_texts_[size_t(j * C + c)];
      if (!(similarity > best) || belongs(i, j)) continue;
      best = similarity;
      take(host.text, j);
    }
  }
  chosen_ids.store(), chosen_mask.store();
  return {batch.pixels, ids, mask};
}

std::string ImageTextTask::metric(const char* loss, const char* what) const {
  return alone() ? fmt::format("eval_{}", what) : fmt::format("eval_{}_{}", loss, what);
}

namespace {
// Sums of [R] losses and of right answers, R rows of [R, C] logits.
void add_answers(Ctx& ctx, Metrics& metrics, const std::string& loss, const std::string& accuracy, Tensor logits,
                 Tensor labels) {
  HostCopy answers(labels, ctx.stream, HostCopy::Fetch::yes);
  Tensor losses = ctx.arena.temp({logits.shape[0]}, stat_dtype(ctx.dtype));
  ops::cross_entropy(ctx, losses, {}, logits, labels);
  std::vector<float> values = ops::host_values(ctx, losses), scores = ops::host_values(ctx, logits);
  int64_t C = logits.shape[1];
  for (size_t r = 0; r < values.size(); ++r) {
    auto row = scores.begin() + int64_t(r) * C;
    metrics.add(loss, values[r], 1);
    metrics.add(accuracy, std::max_element(row, row + C) - row == data<int32_t>(answers.tensor())[r], 1);
  }
}
}  // namespace

void ImageTextTask::evaluate(Ctx& ctx, const Batch& batch, Metrics& metrics) {
  const TaskChoice& choice = options_.choice;
  for (auto [loss, weight] : {std::pair{"itm", choice.itm}, {"mlm", choice.mlm}})
    if (weight > 0) metrics.add(metric(loss, "loss"), 0, 0), metrics.add(metric(loss, "accuracy"), 0, 0);
  if (choice.itc > 0) metrics.add(metric("itc", "loss"), 0, 0);
  if (batch.size() == 0) return;
  auto scope = ctx.arena.scope("evaluate");
  if (choice.itm > 0) {
    auto inner = ctx.arena.scope("itm");
    Tensor logits = model_.itm(ctx, nullptr, {batch.pixels, batch.pair.ids, batch.pair.mask}, nullptr);
    add_answers(ctx, metrics, metric("itm", "loss"), metric("itm", "accuracy"), logits, batch.pair_labels);
  }
  if (choice.mlm > 0) {
    auto inner = ctx.arena.scope("mlm");
    auto masked = model_.mlm(ctx, nullptr, {batch.pixels, batch.masked_ids, batch.text.mask},
                             batch.on_host().masked_labels, nullptr);
    add_answers(ctx, metrics, metric("mlm", "loss"), metric("mlm", "accuracy"), masked.logits, masked.labels);
  }
  if (choice.itc == 0) return;
  Embeddings e = model_.itc(ctx, nullptr, matched(batch), nullptr);
  Tensor losses = contrast(ctx, e, e, {}, {}, scalar(model_.logit_scale().value), {}, 0, 1);
  std::vector<float> values = ops::host_values(ctx, losses), texts = ops::host_values(ctx, e.text),
                     images = ops::host_values(ctx, e.image);
  int64_t C = model_.config().contrastive_hidden_size;
  for (size_t b = 0; b < values.size(); ++b) {
    metrics.add(metric("itc", "loss"), values[b], 1);
    retrieval_.add(batch.images.empty() ? std::to_string(batch.samples[b]) : batch.images[b],
                   texts.data() + int64_t(b) * C, images.data() + int64_t(b) * C);
  }
}

void ImageTextTask::conclude(std::map<std::string, double>& means, Communicator& comm) {
  const TaskChoice& choice = options_.choice;
  if (choice.itc > 0) means.merge(retrieval_.recalls(comm));
  if (alone()) return;
  double loss = 0;
  for (auto [name, weight] : {std::pair{"itm", choice.itm}, {"itc", choice.itc}, {"mlm", choice.mlm}})
    if (weight > 0) loss += weight * means.at(metric(name, "loss"));
  means["eval_loss"] = loss;
  if (choice.itm > 0) means["eval_accuracy"] = means.at(metric("itm", "accuracy"));
}

Tensor ImageTextTask::predict(Ctx& ctx, const Batch& batch) {
  if (options_.choice.first == "itm") return model_.itm(ctx, nullptr, matched(batch), nullptr);
  expect(options_.choice.first == "itc", "predictions are matches or vectors");
  int64_t C = model_.config().contrastive_hidden_size;
  Tensor both = ctx.arena.temp({batch.size(), 2 * C}, ctx.dtype);
  auto scope = ctx.arena.scope("predict");
  Embeddings e = model_.towers(ctx, matched(batch));
  ops::join_columns(ctx, both, e.text, e.image);
  return both;
}

void ImageTextTask::infer(Ctx& ctx, const Batch& batch) {
  const TaskChoice& choice = options_.choice;
  if (choice.itm > 0) {
    auto scope = ctx.arena.scope("itm");
    model_.itm(ctx, nullptr, matched(batch), nullptr);
  }
  if (choice.itc > 0) {
    auto scope = ctx.arena.scope("itc");
    model_.itc(ctx, nullptr, matched(batch), nullptr);
  }
  if (choice.mlm > 0) {
    auto scope = ctx.arena.scope("mlm");
    model_.mlm(ctx, nullptr, {batch.pixels, batch.masked_ids, batch.text.mask}, batch.on_host().masked_labels, nullptr);
  }
}

Batch ImageTextTask::blank_batch(Device device, int64_t samples) const {
  return viaduct::blank_batch(device, samples, model_.config().vision.image_size, options_.text_tokens);
}

double ImageTextTask::flops(bool with_backward, bool executed) const {
  const TaskChoice& choice = options_.choice;
  double sum = 0;
  for (auto [pass, weight] : {std::pair{BridgeTower::Pass::itm, choice.itm},
                              {BridgeTower::Pass::itc, choice.itc},
                              {BridgeTower::Pass::mlm, choice.mlm}})
    if (weight > 0) sum += model_.flops(pass, options_.text_tokens, with_backward, executed);
  return sum;
}

}  // namespace viaduct
