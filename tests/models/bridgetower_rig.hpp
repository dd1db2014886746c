// What the tests of BridgeTower share: a pass of one head with the loss that transformers gives it.
#pragma once
#include <algorithm>
#include <memory>

#include "core/base/philox.hpp"
#include "core/ops/contrastive.hpp"
#include "core/ops/loss.hpp"
#include "core/ops/workspace.hpp"
#include "models/bridgetower.hpp"
#include "tests/support/recording_sink.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct::test {

using Pass = BridgeTower::Pass;
inline const char* name_of(Pass p) { return p == Pass::itm ? "itm" : p == Pass::itc ? "itc" : "mlm"; }
inline BridgeTowerParts parts_for(Pass p) {
  return {.itm = p == Pass::itm, .itc = p == Pass::itc, .mlm = p == Pass::mlm};
}

struct Learned {
  BridgeTower::Inputs in;
  Tensor labels;  // itm [B], mlm [B, T]
};

// Forward, loss and backward. The losses are sums over terms: what the model is told is divided by nothing.
inline void run_pass(Ctx& ctx, BridgeTower& model, Pass pass, const Learned& batch, GradSink& sink) {
  auto scope = ctx.arena.scope("step");
  BridgeTower::SavedPtr saved = model.new_saved();
  auto temp = [&](Shape s) { return ctx.arena.temp(s, ctx.dtype); };
  auto losses_of = [&](int64_t n) { return ctx.arena.temp({n}, stat_dtype(ctx.dtype)); };
  if (pass == Pass::itm) {
    Tensor logits = model.itm(ctx, &sink, batch.in, saved.get());
    Tensor losses = losses_of(logits.shape[0]), d = temp(logits.shape);
    ops::cross_entropy(ctx, losses, d, logits, batch.labels);
    sink.add_loss(losses, losses.numel());
    model.itm_backward(ctx, sink, d, *saved);
  } else if (pass == Pass::mlm) {
    BridgeTower::Masked m = model.mlm(ctx, &sink, batch.in, batch.labels, saved.get());
    Tensor losses = losses_of(m.logits.shape[0]), d = temp(m.logits.shape);
    if (losses.numel()) ops::cross_entropy(ctx, losses, d, m.logits, m.labels);
    sink.add_loss(losses, losses.numel());
    model.mlm_backward(ctx, sink, d, *saved);
  } else {
    BridgeTower::Embeddings e = model.itc(ctx, &sink, batch.in, saved.get());
    BridgeTower::Embeddings d{temp(e.text.shape), temp(e.text.shape), temp(e.text.shape)};
    for (Tensor t : {d.text, d.image, d.cross}) ops::fill(ctx, t, 0);
    model.open_logit_scale(sink);
    Parameter& scale = model.logit_scale();
    auto one = [&](Tensor q, Tensor k, Tensor dq, Tensor dk, int64_t terms) {
      Tensor losses = losses_of(q.shape[0]);
      ops::contrastive(ctx, losses, {dq, dk, scale.grad}, {q, k, scale.value, 0, 1.0 / 3});
      sink.add_loss(losses, terms);
    };
    one(e.text, e.image, d.text, d.image, e.text.shape[0]);
    one(e.text, e.cross, d.text, d.cross, 0);
    one(e.image, e.cross, d.image, d.cross, 0);
    model.itc_backward(ctx, sink, d, *saved);
  }
}

// The same losses without a backward, from the pass that keeps nothing.
inline double loss_of(Ctx& ctx, const BridgeTower& model, Parameter* scale, Pass pass, const Learned& batch) {
  auto scope = ctx.arena.scope("loss");
  double sum = 0;
  auto losses_of = [&](int64_t n) { return ctx.arena.temp({n}, stat_dtype(ctx.dtype)); };
  auto add = [&](Tensor losses) {
    for (int64_t i = 0; i < losses.numel(); ++i)
      sum += losses.dtype == DType::f64 ? data<double>(losses)[i] : double(data<float>(losses)[i]);
  };
  auto cross_entropy = [&](Tensor logits, Tensor labels) {
    Tensor losses = losses_of(logits.shape[0]);
    ops::cross_entropy(ctx, losses, {}, logits, labels), add(losses);
  };
  auto contrastive = [&](Tensor q, Tensor k) {
    Tensor losses = losses_of(q.shape[0]);
    ops::contrastive(ctx, losses, {}, {q, k, scale->value, 0, 1.0 / 3}), add(losses);
  };
  if (pass == Pass::itm) {
    cross_entropy(model.itm(ctx, nullptr, batch.in, nullptr), batch.labels);
  } else if (pass == Pass::mlm) {
    BridgeTower::Masked m = model.mlm(ctx, nullptr, batch.in, batch.labels, nullptr);
    cross_entropy(m.logits, m.labels);
  } else {
    BridgeTower::Embeddings e = model.itc(ctx, nullptr, batch.in, nullptr);
    contrastive(e.text, e.image), contrastive(e.text, e.cross), contrastive(e.image, e.cross);
  }
  return sum;
}

// Every module of a real model, small: a tower layer more than the bridges need, a vision block that nothing runs.
inline BridgeTowerConfig small_bridgetower(const std::string& link = "add", double dropout = 0) {
  BridgeTowerConfig c;
  c.hidden_size = 12, c.num_hidden_layers = 2, c.contrastive_hidden_size = 7, c.link_tower_type = link;
  c.initializer_factor = 4;
  c.text.vocab_size = 23, c.text.hidden_size = 12, c.text.num_hidden_layers = 3, c.text.num_attention_heads = 3;
  c.text.intermediate_size = 20, c.text.max_position_embeddings = 13, c.text.initializer_factor = 4;
  c.text.hidden_dropout_prob = c.text.attention_probs_dropout_prob = dropout;
  c.vision.hidden_size = 64, c.vision.num_hidden_layers = 4, c.vision.patch_size = 5, c.vision.image_size = 11;
  return c;
}

// A model with memory and a batch of random pairs for it; texts end after 3, 4, .. tokens of `tokens`.
struct BridgeTowerRig {
  BridgeTowerRig(const BridgeTowerConfig& config, const BridgeTowerParts& parts, DType dtype,
                 Device device = Device::cpu(), int64_t samples = 4, int64_t tokens = 8)
      : model(config, {}, parts), work(device, 64 << 20, dtype), storage(device, 1 << 16) {
    model.parameters().materialize(device, dtype, true);
    model.parameters().initialize(7);
    int64_t size = config.vision.image_size, offset = 0;
    auto make = [&](Shape shape, DType t) {
      Tensor made = storage.view(offset, shape, t);
      offset += align_up(made.bytes(), 64);
      return made;
    };
    in = {make({samples, size, size, 3}, DType::u8), make({samples, tokens}, DType::i32),
          make({samples, tokens}, DType::i32)};
    pair_labels = make({samples}, DType::i32), masked_labels = make({samples, tokens}, DType::i32);
    keys = make({samples}, DType::i64);
    work.ctx.sample_keys = keys, work.ctx.training = true;
    if (!device.is_meta()) fill(config);
  }
  void fill(const BridgeTowerConfig& config) {
    RandomSequence random(3, Draw::scene);
    for (int64_t i = 0; i < in.pixels.numel(); ++i) data<uint8_t>(in.pixels)[i] = uint8_t(random.bits());
    int64_t T = in.ids.shape[1];
    for (int64_t b = 0; b < keys.numel(); ++b) {
      data<int64_t>(keys)[b] = int64_t(sample_key(1, 2, uint64_t(b)));
      data<int32_t>(pair_labels)[b] = int32_t(b % 2);
      for (int64_t t = 0; t < T; ++t) {
        bool real = t < std::min(T, 3 + b);
        int64_t at = b * T + t, id = 2 + int64_t(random.below(uint64_t(config.text.vocab_size - 2)));
        data<int32_t>(in.ids)[at] = real ? int32_t(id) : int32_t(config.text.pad_token_id);
        data<int32_t>(in.mask)[at] = real;
        data<int32_t>(masked_labels)[at] =
            real && t % 2 ? int32_t(random.below(uint64_t(config.text.vocab_size))) : -100;
      }
    }
  }
  Learned batch(Pass pass) const { return {in, pass == Pass::mlm ? masked_labels : pair_labels}; }
  // Adds to the gradients.
  double run(Pass pass) {
    sink = std::make_unique<RecordingSink>(model.parameters());
    run_pass(work.ctx, model, pass, batch(pass), *sink);
    return sink->loss;
  }
  double train(Pass pass) {
    model.parameters().zero_gradients(host_stream());
    return run(pass);
  }
  double loss(Pass pass) {  // of an fp64 model
    return loss_of(work.ctx, model, pass == Pass::itc ? &model.logit_scale() : nullptr, pass, batch(pass));
  }
  Tensor grads() { return model.parameters().grads(); }

  BridgeTower model;
  Workspace work;
  Buffer storage;
  BridgeTower::Inputs in;
  Tensor pair_labels, masked_labels, keys;
  std::unique_ptr<RecordingSink> sink;
};

inline constexpr Pass kPasses[] = {Pass::itm, Pass::itc, Pass::mlm};
inline constexpr BridgeTowerParts kAllHeads{.itm = true, .itc = true, .mlm = true};

}  // namespace viaduct::test
