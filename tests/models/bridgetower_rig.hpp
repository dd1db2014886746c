// What the tests of BridgeTower share: a pass of one head with the loss that transformers gives it.
#pragma once
#include <memory>

#include "core/base/philox.hpp"
#include "core/ops/contrastive.hpp"
#include "core/ops/loss.hpp"
#include "core/ops/workspace.hpp"
#include "models/bridgetower.hpp"
#include "tests/support/recording_sink.hpp"

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

}  // namespace viaduct::test
