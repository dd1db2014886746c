#include "models/bridgetower.hpp"

#include "core/device/host_copy.hpp"
#include "core/ops/loss.hpp"
#include "core/ops/rows.hpp"
#include "models/bridgetower_body.hpp"
#include "models/bridgetower_flops.hpp"
#include "models/bridgetower_heads.hpp"

namespace viaduct {
namespace {

constexpr Passes passes(BridgeTower::Pass p) { return 1u << int(p); }
constexpr Passes kItm = passes(BridgeTower::Pass::itm), kItc = passes(BridgeTower::Pass::itc),
                 kMlm = passes(BridgeTower::Pass::mlm);

const BridgeTowerConfig& validated(const BridgeTowerConfig& c) { return c.validate(), c; }

BodyOptions body_options(const BridgeTowerParts& p) {
  Passes first = (p.itm ? kItm : 0) | (p.itc ? kItc : 0), rows = p.mlm ? kMlm : 0;
  return {{first, rows}, p.freeze_text, p.freeze_vision, p.freeze_cross, p.recompute};
}

}  // namespace

struct BridgeTower::State {
  State(const BridgeTowerConfig&, const ops::Normalization&, const BridgeTowerParts&);

  BridgeTowerConfig config;
  BridgeTowerParts parts;
  ParameterStore store;
  PassBlocks blocks{store};
  BridgeTowerBody body;
  Poolers poolers;
  std::optional<ItmHead> itm;  // those that the model has
  std::optional<ItcHeads> itc;
  std::optional<MlmHead> mlm;

  Tensor pooled(Ctx&, BlockReports&, const Inputs&, BridgeTowerBody::Outputs, Saved*) const;
  void pooled_backward(Ctx&, BlockReports&, Tensor d_pooled, BridgeTowerBody::Outputs d, const Saved&) const;
};

struct BridgeTower::Saved {
  Arena::Mark start;
  BridgeTowerBody::Saved body;
  Poolers::Saved poolers;
  Tensor pooled;        // [B, 2 H]
  Embeddings itc, raw;  // what enters the heads and what they make of it
  Shape text;           // [B, T] of the masked rows
  Tensor rows;          // [R] int32, among B x T
  MlmHead::Saved mlm;
};

namespace {

// A result: kept with `saved`, else a temporary of the scope that encloses the pass.
struct Maker {
  Ctx& ctx;
  bool keep;
  Tensor operator()(Shape shape) const { return (*this)(shape, ctx.dtype); }
  Tensor operator()(Shape shape, DType dtype) const {
    return keep ? ctx.arena.keep(shape, dtype) : ctx.arena.temp(shape, dtype);
  }
};

Maker begin(Ctx& ctx, BridgeTower::Saved* saved) {
  if (saved) *saved = {}, saved->start = ctx.arena.mark();
  return {ctx, saved != nullptr};
}

}  // namespace

BridgeTower::State::State(const BridgeTowerConfig& c, const ops::Normalization& normalization,
                          const BridgeTowerParts& p)
    : config(validated(c)),
      parts(p),
      body(blocks, c, normalization, body_options(p)),
      poolers(blocks, c, body_options(p).readers.first, p.freeze_cross) {
  const bool tied = c.text.tie_word_embeddings;
  if (p.mlm)
    mlm.emplace(blocks, c, kMlm, tied ? &body.text().words() : nullptr, tied ? body.text().words_range() : Range{});
  if (p.itm) itm.emplace(blocks, c, kItm);
  if (p.itc) itc.emplace(blocks, c, kItc);
}

BridgeTower::BridgeTower(const BridgeTowerConfig& c, const ops::Normalization& normalization, BridgeTowerParts parts)
    : state_(std::make_unique<State>(c, normalization, parts)) {}
BridgeTower::~BridgeTower() = default;
ParameterStore& BridgeTower::parameters() { return state_->store; }
const BridgeTowerConfig& BridgeTower::config() const { return state_->config; }
BridgeTower::SavedPtr BridgeTower::new_saved() const { return SavedPtr(new Saved); }
void BridgeTower::SavedDeleter::operator()(Saved* saved) const { delete saved; }

Tensor BridgeTower::State::pooled(Ctx& ctx, BlockReports& reports, const Inputs& in, BridgeTowerBody::Outputs out,
                                  Saved* saved) const {
  Maker make{ctx, saved != nullptr};
  int64_t B = in.ids.shape[0], H = config.hidden_size;
  Tensor pooled = make({B, 2 * H});
  out.text_first = make({B, H}), out.image_first = make({B, H});
  body.forward(ctx, reports, in, out, saved ? &saved->body : nullptr);
  poolers.forward(ctx, reports, pooled, out.text_first, out.image_first,
                  saved && body.trained() ? &saved->poolers : nullptr);
  if (saved) saved->pooled = pooled;
  return pooled;
}

void BridgeTower::State::pooled_backward(Ctx& ctx, BlockReports& reports, Tensor d_pooled, BridgeTowerBody::Outputs d,
                                         const Saved& saved) const {
  if (!body.trained()) return;
  const Tensor& text_first = saved.poolers.text.x;
  d.text_first = ctx.arena.temp(text_first.shape, text_first.dtype);
  d.image_first = ctx.arena.temp(text_first.shape, text_first.dtype);
  poolers.backward(ctx, reports, d.text_first, d.image_first, d_pooled, saved.poolers);
  body.backward(ctx, reports, d, saved.body);
}

Tensor BridgeTower::itm(Ctx& ctx, GradSink* sink, const Inputs& in, Saved* saved) const {
  expect(state_->itm.has_value(), "the model was made without itm");
  Tensor logits = begin(ctx, saved)({in.ids.shape[0], 2});
  auto scope = ctx.arena.scope("forward");
  BlockReports reports(state_->store, sink);
  Tensor pooled = state_->pooled(ctx, reports, in, {}, saved);
  state_->itm->forward(ctx, reports, logits, pooled);
  return logits;
}

void BridgeTower::itm_backward(Ctx& ctx, GradSink& sink, Tensor d_logits, const Saved& saved) {
  auto scope = ctx.arena.scope("backward");
  state_->blocks.report_unreached(kItm, sink);
  BlockReports reports(state_->store, &sink);
  Tensor d_pooled;
  if (state_->body.trained()) d_pooled = ctx.arena.temp(saved.pooled.shape, saved.pooled.dtype);
  state_->itm->backward(ctx, reports, d_pooled, d_logits, saved.pooled);
  state_->pooled_backward(ctx, reports, d_pooled, {}, saved);
  ctx.arena.release(saved.start);
}

BridgeTower::Embeddings BridgeTower::itc(Ctx& ctx, GradSink* sink, const Inputs& in, Saved* saved) const {
  expect(state_->itc.has_value(), "the model was made without itc");
  Maker make = begin(ctx, saved);
  int64_t B = in.ids.shape[0], H = config().hidden_size, C = config().contrastive_hidden_size;
  Embeddings e{make({B, C}), make({B, C}), make({B, C})};
  auto scope = ctx.arena.scope("forward");
  BlockReports reports(state_->store, sink);
  Embeddings enter{make({B, H}), make({B, H}), {}}, raw{make({B, C}), make({B, C}), make({B, C})};
  enter.cross = state_->pooled(ctx, reports, in, {.towers = enter}, saved);
  state_->itc->forward(ctx, reports, e, raw, enter);
  if (saved) saved->itc = enter, saved->raw = raw;
  return e;
}

void BridgeTower::itc_backward(Ctx& ctx, GradSink& sink, const Embeddings& d, const Saved& saved) {
  auto scope = ctx.arena.scope("backward");
  state_->blocks.report_unreached(kItc, sink);
  BlockReports reports(state_->store, &sink);
  const Embeddings& in = saved.itc;
  auto wanted = [&](bool is_wanted, const Tensor& t) {
    return is_wanted ? ctx.arena.temp(t.shape, t.dtype) : Tensor{};
  };
  const BridgeTowerParts& parts = state_->parts;
  Embeddings d_in{wanted(!parts.freeze_text, in.text), wanted(!parts.freeze_vision || !parts.freeze_cross, in.image),
                  wanted(state_->body.trained(), in.cross)};
  state_->itc->backward(ctx, reports, d_in, d, saved.raw, in);
  state_->pooled_backward(ctx, reports, d_in.cross, {.towers = d_in}, saved);
  ctx.arena.release(saved.start);
}

Parameter& BridgeTower::logit_scale() {
  expect(state_->itc.has_value(), "the model was made without itc");
  return state_->itc->logit_scale();
}
void BridgeTower::open_logit_scale(GradSink& sink) {
  BlockReports(state_->store, &sink).open(state_->itc->logit_scale_range());
}

BridgeTower::Embeddings BridgeTower::towers(Ctx& ctx, const Inputs& in) const {
  expect(state_->itc.has_value(), "the model was made without itc");
  int64_t B = in.ids.shape[0], H = config().hidden_size, C = config().contrastive_hidden_size;
  auto make = [&](int64_t width) { return ctx.arena.temp({B, width}, ctx.dtype); };
  Embeddings e{make(C), make(C), {}};
  auto scope = ctx.arena.scope("forward");
  Embeddings enter{make(H), make(H), {}}, raw{make(C), make(C), {}};
  BlockReports reports;
  state_->body.towers(ctx, in, enter);
  state_->itc->forward(ctx, reports, e, raw, enter);
  return e;
}

BridgeTower::Masked BridgeTower::mlm(Ctx& ctx, GradSink* sink, const Inputs& in, Tensor labels, Saved* saved) const {
  expect(state_->mlm.has_value(), "the model was made without mlm");
  expect(labels.shape == in.ids.shape, "every token has a label");
  Maker make = begin(ctx, saved);
  const int64_t all = labels.numel(), V = config().text.vocab_size, H = config().hidden_size;
  const bool planning = ctx.device().is_meta();
  const int32_t* label = planning ? nullptr : data<int32_t>(labels);
  const int64_t R = planning ? all : all - std::count(label, label + all, ops::kIgnoredLabel);
  Masked masked{make({R, V}), make({R}, DType::i32)};
  auto scope = ctx.arena.scope("forward");
  Tensor rows = make({R}, DType::i32), x = make({R, H});
  if (saved) saved->text = labels.shape, saved->rows = rows;
  if (R == 0) return masked;  // nothing will be read
  HostCopy row(rows, ctx.stream, HostCopy::Fetch::no), row_label(masked.labels, ctx.stream, HostCopy::Fetch::no);
  for (int64_t i = 0, r = 0; !planning && i < all; ++i)
    if (label[i] != ops::kIgnoredLabel)
      data<int32_t>(row.tensor())[r] = int32_t(i), data<int32_t>(row_label.tensor())[r++] = label[i];
  row.store(), row_label.store();

  BlockReports reports(state_->store, sink);
  Tensor text = ctx.arena.temp({labels.shape[0], labels.shape[1], H}, ctx.dtype);
  state_->body.forward(ctx, reports, in, {.text_rows = text}, saved ? &saved->body : nullptr);
  ops::gather_rows(ctx, x, text, rows);
  state_->mlm->forward(ctx, reports, masked.logits, x, saved ? &saved->mlm : nullptr);
  return masked;
}

void BridgeTower::mlm_backward(Ctx& ctx, GradSink& sink, Tensor d_logits, const Saved& saved) {
  auto scope = ctx.arena.scope("backward");
  const BridgeTowerBody& body = state_->body;
  if (saved.rows.shape[0] == 0) {
    state_->blocks.report_all(sink);
  } else {
    state_->blocks.report_unreached(kMlm, sink);
    BlockReports reports(state_->store, &sink);
    const Tensor& x = saved.mlm.x;
    Tensor d_text, dx;
    if (body.trained())
      d_text = ctx.arena.temp({saved.text[0], saved.text[1], x.shape[1]}, x.dtype),
      dx = ctx.arena.temp(x.shape, x.dtype);
    state_->mlm->backward(ctx, reports, dx, d_logits, saved.mlm);
    if (body.trained()) {
      ops::scatter_rows(ctx, d_text, dx, saved.rows, false);
      body.backward(ctx, reports, {.text_rows = d_text}, saved.body);
    }
  }
  ctx.arena.release(saved.start);
}

double BridgeTower::flops(Pass pass, int64_t tokens, bool with_backward, bool executed) const {
  return bridgetower_flops(state_->config, state_->parts, pass, tokens, with_backward, executed);
}

}  // namespace viaduct
