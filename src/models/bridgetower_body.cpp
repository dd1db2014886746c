#include "models/bridgetower_body.hpp"

namespace viaduct {

// Forward: what goes on from level to level.
struct BridgeTowerBody::States {
  Tensor text_stream, vision_stream;  // where states of the towers are made that nothing keeps
  Tensor t, v;                        // the towers' states
  Tensor text_in, image_in;           // of the pair of this level
  Tensor text, image;                 // outputs of the pair below
};

// Backward: the gradients of that, each one tensor, updated in place (rule R1).
struct BridgeTowerBody::Gradients {
  Tensor t, v;             // absent: the tower is frozen
  Tensor text, image;      // of the outputs of a pair, then of its inputs, then of the outputs of the pair below
  Tensor from_text;        // what the text layer of a pair says of the image layer's input
  Tensor text_h, image_h;  // of what enters a link, where that is not the gradient of the link's output
};

void BridgeTowerBody::forward(Ctx& ctx, BlockReports& reports, const PairInputs& in, const Outputs& out,
                              Saved* saved) const {
  auto scope = ctx.arena.scope("body");
  int64_t B = in.ids.shape[0], T = in.ids.shape[1], N = config_.image_tokens(), H = config_.hidden_size;
  int64_t size = config_.vision.image_size, levels = config_.num_hidden_layers;
  expect(in.pixels.shape == Shape({B, size, size, 3}), "images have the size that the model was made for");
  expect(in.mask.shape == in.ids.shape && T <= config_.longest_text(), "texts have a mask and are not too long");
  if (!trained()) saved = nullptr;
  if (saved) *saved = {}, saved->levels.resize(size_t(levels));

  States s;
  if (!saved || !train_text_) s.text_stream = ctx.arena.temp({B, T, H}, ctx.dtype);
  if (!saved || !train_vision_) s.vision_stream = ctx.arena.temp({B, N, config_.vision.hidden_size}, ctx.dtype);
  const bool keeps_outputs = saved && levels > 1 && text_links_[1].keeps_c();
  if (levels > 1 && !keeps_outputs)
    s.text = ctx.arena.temp({B, T, H}, ctx.dtype), s.image = ctx.arena.temp({B, N, H}, ctx.dtype);
  for (size_t level = 0; level < size_t(levels); ++level) {
    auto inner = ctx.arena.scope("level");
    if (saved) saved->levels[level].tower_mark = ctx.arena.mark();
    text_layers(ctx, reports, level, s, in, saved);
    vision_blocks(ctx, reports, level, s, in, saved);
    enter(ctx, reports, level, s, out, saved);
    if (keeps_outputs && !is_last(level))
      s.text = ctx.arena.keep({B, T, H}, ctx.dtype), s.image = ctx.arena.keep({B, N, H}, ctx.dtype);
    cross(ctx, reports, level, s, in.mask, out, saved);
  }
  if (out.towers.text) ops::select_token(ctx, out.towers.text, s.t, 0);
}

void BridgeTowerBody::backward(Ctx& ctx, BlockReports& reports, const Outputs& d, const Saved& saved) const {
  if (!trained()) return;
  auto scope = ctx.arena.scope("body backward");
  const Level& top = saved.levels.back();
  auto make = [&](const Tensor& like) { return ctx.arena.temp(like.shape, like.dtype); };
  Gradients g;
  if (train_text_) g.t = make(top.t);
  if (train_vision_) g.v = make(top.v);
  g.text = d.text_rows ? d.text_rows : make(top.text_link.h), g.image = make(top.image_link.h);
  if (d.text_first || saved.levels.size() > 1) g.from_text = make(g.image);
  const bool apart = text_links_.back().keeps_c();
  if (apart) g.text_h = make(g.text);
  if (apart || d.towers.image) g.image_h = make(g.image);

  for (size_t level = saved.levels.size(); level-- > 0;) {
    const Level& l = saved.levels[level];
    cross_backward(ctx, reports, level, g, d, saved);
    enter_backward(ctx, reports, level, g, d, saved);
    ctx.arena.release(l.bridge_mark);
    if (train_vision_) vision_backward(ctx, reports, level, g, saved);
    if (train_text_) text_backward(ctx, reports, level, g, saved);
    ctx.arena.release(l.tower_mark);
  }
}

// The layers of the text tower between the bridge below and that of this level. A state is kept for the next layer's
// backward or for that of the bridge.
void BridgeTowerBody::text_layers(Ctx& ctx, BlockReports& reports, size_t level, States& s, const PairInputs& in,
                                  Saved* saved) const {
  Roberta::Saved* kept = saved && train_text_ ? &saved->text : nullptr;
  Shape shape{in.ids.shape[0], in.ids.shape[1], config_.hidden_size};
  auto state = [&](bool is_bridged) {
    return kept || (saved && train_cross_ && is_bridged) ? ctx.arena.keep(shape, ctx.dtype) : s.text_stream;
  };
  if (level == 0) text_.embed(ctx, reports, s.t = state(false), in.ids, kept);
  for (size_t i = first_layer(level); i < end_layer(level); ++i) {
    Tensor next = state(i + 1 == end_layer(level));
    text_.layer(ctx, reports, i, next, {s.t, in.mask}, kept);
    s.t = next;
  }
}

void BridgeTowerBody::text_backward(Ctx& ctx, BlockReports& reports, size_t level, Gradients& g,
                                    const Saved& saved) const {
  for (size_t i = end_layer(level); i-- > first_layer(level);) text_.layer_backward(ctx, reports, i, g.t, saved.text);
  if (level == 0) text_.embed_backward(ctx, reports, g.t, saved.text);
}

void BridgeTowerBody::vision_blocks(Ctx& ctx, BlockReports& reports, size_t level, States& s, const PairInputs& in,
                                    Saved* saved) const {
  ClipVision::Saved* kept = saved && train_vision_ ? &saved->vision : nullptr;
  Shape shape{in.pixels.shape[0], config_.image_tokens(), config_.vision.hidden_size};
  auto state = [&](bool is_bridged) {
    return kept || (saved && train_cross_ && is_bridged) ? ctx.arena.keep(shape, ctx.dtype) : s.vision_stream;
  };
  if (level == 0) vision_.embed(ctx, reports, s.v = state(false), in.pixels, kept);
  for (size_t i = first_layer(level); i < end_layer(level); ++i) {
    Tensor next = state(i + 1 == end_layer(level));
    vision_.block(ctx, reports, i, next, s.v, kept);
    s.v = next;
  }
}

void BridgeTowerBody::vision_backward(Ctx& ctx, BlockReports& reports, size_t level, Gradients& g,
                                      const Saved& saved) const {
  for (size_t i = end_layer(level); i-- > first_layer(level);)
    vision_.block_backward(ctx, reports, i, g.v, saved.vision);
  if (level == 0) vision_.embed_backward(ctx, reports, g.v, saved.vision);
}

// From the towers' states and the pair below to the inputs of the pair of this level.
void BridgeTowerBody::enter(Ctx& ctx, BlockReports& reports, size_t level, States& s, const Outputs& out,
                            Saved* saved) const {
  Level* kept = saved ? &saved->levels[level] : nullptr;
  if (kept) kept->bridge_mark = ctx.arena.mark(), kept->t = s.t, kept->v = s.v;
  auto make = [&](const Tensor& tower) {
    Shape shape{tower.shape[0], tower.shape[1], config_.hidden_size};
    return kept ? ctx.arena.keep(shape, ctx.dtype) : ctx.arena.temp(shape, ctx.dtype);
  };
  for (Range block : {vision_.post_range(), types_range_, transforms_range_, link_ranges_[level]}) reports.need(block);
  Tensor text_h = make(s.t), image_h = make(s.v);
  s.text_in = make(s.t), s.image_in = make(s.v);
  if (kept && train_vision_) kept->post = nn::keep_stats(ctx, s.v);
  {
    auto inner = ctx.arena.scope("image transform");
    Tensor normed = ctx.arena.temp(s.v.shape, s.v.dtype);
    vision_.post().forward(ctx, normed, kept ? kept->post : ops::NormStats{}, s.v);
    image_transform_->forward(ctx, image_h, normed);
  }
  if (is_last(level) && out.towers.image) ops::select_token(ctx, out.towers.image, image_h, 0);
  image_links_[level].forward(ctx, s.image_in, image_h, s.image, kept ? &kept->image_link : nullptr);
  text_transform_->forward(ctx, text_h, s.t);
  text_links_[level].forward(ctx, s.text_in, text_h, s.text, kept ? &kept->text_link : nullptr);
}

void BridgeTowerBody::enter_backward(Ctx& ctx, BlockReports& reports, size_t level, Gradients& g, const Outputs& d,
                                     const Saved& saved) const {
  const Level& l = saved.levels[level];
  const bool is_top = is_last(level), text_below = train_cross_ || train_text_,
             image_below = train_cross_ || train_vision_;
  for (Range block : {link_ranges_[level], transforms_range_, types_range_, vision_.post_range()}) reports.open(block);

  if (text_below || level > 0) {
    Tensor dh = text_links_[level].backward(ctx, g.text, text_below ? g.text_h : Tensor{}, l.text_link);
    if (text_below) text_transform_->backward(ctx, g.t, !is_top, dh, l.t);
  }
  if (is_top && g.t && d.towers.text) ops::select_token_backward(ctx, g.t, d.towers.text, 0);

  if (image_below || level > 0) {
    Tensor dh = image_links_[level].backward(ctx, g.image, image_below ? g.image_h : Tensor{}, l.image_link);
    if (image_below) image_transform_backward(ctx, level, g, dh, d, l);
  }
  reports.ready(link_ranges_[level]);
  if (level == 0)
    for (Range block : {transforms_range_, types_range_, vision_.post_range()}) reports.ready(block);
}

void BridgeTowerBody::image_transform_backward(Ctx& ctx, size_t level, Gradients& g, Tensor dh, const Outputs& d,
                                               const Level& l) const {
  auto scope = ctx.arena.scope("image transform");
  if (is_last(level) && d.towers.image) {
    if (!image_links_[level].keeps_c()) {  // dh is the gradient of the pair below as well, which this is no part of
      ops::copy(ctx, g.image_h, dh);
      dh = g.image_h;
    }
    ops::select_token_backward(ctx, dh, d.towers.image, 0);
  }
  Tensor normed, d_normed;
  if (train_cross_) {
    normed = ctx.arena.temp(l.v.shape, l.v.dtype);
    vision_.post().forward(ctx, normed, {}, l.v);
  }
  if (train_vision_) d_normed = ctx.arena.temp(l.v.shape, l.v.dtype);
  image_transform_->backward(ctx, d_normed, false, dh, normed);
  if (train_vision_) vision_.post().backward(ctx, g.v, d_normed, l.v, l.post, !is_last(level));
}

// A pair: each layer reads what the other was given, not what it makes. Of the last pair only what is read is made.
void BridgeTowerBody::cross(Ctx& ctx, BlockReports& reports, size_t level, States& s, Tensor mask, const Outputs& out,
                            Saved* saved) const {
  auto* text_saved = saved ? &saved->text_cross : nullptr;
  auto* image_saved = saved ? &saved->image_cross : nullptr;
  nn::CrossLayer::Inputs text{s.text_in, mask, s.image_in, {}}, image{s.image_in, {}, s.text_in, mask};
  if (!is_last(level)) {
    image_cross_.forward(ctx, reports, level, s.image, image, image_saved);
    text_cross_.forward(ctx, reports, level, s.text, text, text_saved);
  } else if (out.text_first) {
    image_cross_.forward_first_token(ctx, reports, level, out.image_first, image, image_saved);
    text_cross_.forward_first_token(ctx, reports, level, out.text_first, text, text_saved);
  } else {
    text_cross_.forward(ctx, reports, level, out.text_rows, text, text_saved);
  }
}

void BridgeTowerBody::cross_backward(Ctx& ctx, BlockReports& reports, size_t level, Gradients& g, const Outputs& d,
                                     const Saved& saved) const {
  using Other = nn::CrossLayer::OtherGrad;
  // At the first level the input of a tower that ends in frozen modules needs no gradient.
  auto wanted = [&](bool trained, Tensor dy) { return level > 0 || train_cross_ || trained ? dy : Tensor{}; };
  Other to_image{wanted(train_vision_, g.from_text), false}, to_text{wanted(train_text_, g.text), true};
  if (!is_last(level)) {
    text_cross_.backward(ctx, reports, level, saved.text_cross, g.text, to_image);
    image_cross_.backward(ctx, reports, level, saved.image_cross, g.image, to_text);
  } else if (d.text_first) {
    text_cross_.backward_first_token(ctx, reports, level, saved.text_cross, g.text, d.text_first, to_image);
    image_cross_.backward_first_token(ctx, reports, level, saved.image_cross, g.image, d.image_first, to_text);
  } else {
    return text_cross_.backward(ctx, reports, level, saved.text_cross, g.text,
                                Other{wanted(train_vision_, g.image), false});
  }
  if (to_image.dy) ops::add(ctx, g.image, g.image, g.from_text);
}

void BridgeTowerBody::towers(Ctx& ctx, const PairInputs& in, const Embeddings& out) const {
  auto scope = ctx.arena.scope("towers");
  BlockReports reports;
  int64_t B = in.ids.shape[0], T = in.ids.shape[1], width = config_.vision.hidden_size;
  const size_t last = text_.layers() - 1;
  Tensor t = ctx.arena.temp({B, T, config_.hidden_size}, ctx.dtype);
  text_.embed(ctx, reports, t, in.ids, nullptr);
  for (size_t i = 0; i < last; ++i) text_.layer(ctx, reports, i, t, {t, in.mask}, nullptr);
  text_.last_first_token(ctx, out.text, {t, in.mask});

  Tensor v = ctx.arena.temp({B, config_.image_tokens(), width}, ctx.dtype),
         first = ctx.arena.temp({B, width}, ctx.dtype);
  vision_.embed(ctx, reports, v, in.pixels, nullptr);
  for (size_t i = 0; i < last; ++i) vision_.block(ctx, reports, i, v, v, nullptr);
  vision_.block_first_token(ctx, last, first, v);
  vision_.post().forward(ctx, first, {}, first);
  image_transform_->forward(ctx, out.image, first);
}

}  // namespace viaduct
