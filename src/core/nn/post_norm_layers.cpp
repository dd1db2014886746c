#include "core/nn/post_norm_layers.hpp"

namespace viaduct::nn {
namespace {

// Where the output of a part goes that the next part reads: beside what is saved, or where the layer's own will be.
Tensor between(Ctx& ctx, Tensor out, Shape shape, DType dtype, bool saved) {
  return saved ? ctx.arena.temp(shape, dtype) : out;
}

Tensor made_again(Ctx& ctx, const PostNormOutput& part, const PostNormOutput::Saved& saved) {
  Tensor out = ctx.arena.temp(saved.sum.shape, saved.sum.dtype);
  part.forward_again(ctx, out, saved);
  return out;
}

template <class Saved>
auto* part(Saved* saved, auto member) {
  return saved ? &(saved->*member) : nullptr;
}

}  // namespace

TextLayer::TextLayer(ParameterStore& store, const std::string& prefix, const PostNormOptions& o)
    : self(store, prefix + "attention.", o, o.first_op), mlp(store, prefix, o, o.first_op + 2) {}

void TextLayer::forward(Ctx& ctx, Tensor out, const Inputs& in, Saved* saved) const {
  auto scope = ctx.arena.scope("text layer");
  Tensor a = between(ctx, out, in.x.shape, in.x.dtype, saved);
  self.forward(ctx, a, in.x, in.mask, part(saved, &Saved::self));
  mlp.forward(ctx, out, a, part(saved, &Saved::mlp));
  if (saved) saved->in = in;
}

void TextLayer::backward(Ctx& ctx, Tensor d, const Saved& s) const {
  {
    auto scope = ctx.arena.scope("text layer");
    mlp.backward(ctx, d, made_again(ctx, self.output, s.self.output), s.mlp);
  }
  self.backward(ctx, d, s.in.x, s.in.mask, s.self);
}

CrossLayer::CrossLayer(ParameterStore& store, const std::string& prefix, const PostNormOptions& o)
    : self(store, prefix + "attention.", o, o.first_op),
      cross(store, prefix + "crossattention.", o, o.first_op + 2),
      mlp(store, prefix, o, o.first_op + 4) {}

void CrossLayer::forward(Ctx& ctx, Tensor out, const Inputs& in, Saved* saved) const {
  auto scope = ctx.arena.scope("cross layer");
  Tensor a = between(ctx, out, in.x.shape, in.x.dtype, saved);
  self.forward(ctx, a, in.x, in.x_mask, part(saved, &Saved::self));
  cross_and_mlp(ctx, out, a, in, saved);
}

void CrossLayer::forward_first_token(Ctx& ctx, Tensor out, const Inputs& in, Saved* saved) const {
  auto scope = ctx.arena.scope("cross layer");
  Tensor a = between(ctx, out, {in.x.shape[0], in.x.shape[2]}, in.x.dtype, saved);
  self.forward_first_token(ctx, a, in.x, in.x_mask, part(saved, &Saved::self));
  cross_and_mlp(ctx, out, a, in, saved);
}

void CrossLayer::cross_and_mlp(Ctx& ctx, Tensor out, Tensor a, const Inputs& in, Saved* saved) const {
  Tensor c = between(ctx, out, a.shape, a.dtype, saved);
  cross.forward(ctx, c, a, in.y, in.y_mask, part(saved, &Saved::cross));
  mlp.forward(ctx, out, c, part(saved, &Saved::mlp));
  if (saved) saved->in = in;
}

void CrossLayer::cross_and_mlp_backward(Ctx& ctx, Tensor d, OtherGrad other, const Saved& s) const {
  {
    auto scope = ctx.arena.scope("cross layer");
    mlp.backward(ctx, d, made_again(ctx, cross.output, s.cross.output), s.mlp);
  }
  auto scope = ctx.arena.scope("cross layer");
  Tensor a = made_again(ctx, self.output, s.self.output);
  cross.backward(ctx, d, other.dy, other.accumulate, a, s.in.y, s.in.y_mask, s.cross);
}

void CrossLayer::backward(Ctx& ctx, Tensor d, OtherGrad other, const Saved& s) const {
  cross_and_mlp_backward(ctx, d, other, s);
  self.backward(ctx, d, s.in.x, s.in.x_mask, s.self);
}

void CrossLayer::backward_first_token(Ctx& ctx, Tensor d, Tensor d_first, OtherGrad other, const Saved& s) const {
  cross_and_mlp_backward(ctx, d_first, other, s);
  self.backward_first_token(ctx, d, d_first, s.in.x, s.in.x_mask, s.self);
}

}  // namespace viaduct::nn
