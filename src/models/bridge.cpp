#include "models/bridge.hpp"

namespace viaduct {
namespace {

ops::Bridge kind_named(const std::string& name) {
  if (name == "scaled_add") return ops::Bridge::scaled_add;
  return name == "interpolate" ? ops::Bridge::interpolate : ops::Bridge::add;  // the config has been validated
}

Tensor value_of(const Parameter* p) { return p ? p->value : Tensor{}; }

}  // namespace

void TowerTransform::forward(Ctx& ctx, Tensor h, Tensor x) const {
  auto scope = ctx.arena.scope("transform");
  Tensor bias = ctx.arena.temp(dense.bias->value.shape, dense.bias->value.dtype);
  ops::add(ctx, bias, dense.bias->value, types.value.slice(type, type + 1));
  nn::LinearRows rows = dense.all();
  rows.bias = bias;
  rows.forward(ctx, h, x);
}

void TowerTransform::backward(Ctx& ctx, Tensor dx, bool accumulate, Tensor dh, Tensor x) const {
  auto scope = ctx.arena.scope("transform");
  nn::LinearRows rows = dense.all();
  if (types.grad) {  // the sum of the rows of dh is the gradient of the bias and of the type
    rows.dbias = ctx.arena.temp({types.shape[1]}, types.grad.dtype);
    ops::fill(ctx, rows.dbias, 0);
  }
  rows.backward(ctx, dx, dh, x, {.accumulate = accumulate});
  if (!types.grad) return;
  Tensor of_type = types.grad.slice(type, type + 1);
  ops::add(ctx, dense.bias->grad, dense.bias->grad, rows.dbias);
  ops::add(ctx, of_type, of_type, rows.dbias);
}

Link Link::at_first_level(ParameterStore& store, const std::string& name, const BridgeTowerConfig& c) {
  return {nn::LayerNorm(store, name, c.hidden_size, c.layer_norm_eps), std::nullopt, nullptr};
}

Link Link::above(ParameterStore& store, const std::string& name, const BridgeTowerConfig& c) {
  ops::Bridge kind = kind_named(c.link_tower_type);
  const Parameter* scalar = nullptr;
  if (kind == ops::Bridge::scaled_add) scalar = &store.add(name + ".scaled_factor", {1}, {.init = Init::constant(1)});
  if (kind == ops::Bridge::interpolate) scalar = &store.add(name + ".beta", {1}, {.init = Init::constant(0.5f)});
  return {nn::LayerNorm(store, name + ".LayerNorm", c.hidden_size, c.layer_norm_eps), kind, scalar};
}

void Link::forward(Ctx& ctx, Tensor out, Tensor h, Tensor c, Saved* saved) const {
  auto scope = ctx.arena.scope("link");
  bool apart = saved && keeps_c();
  Tensor sum = apart ? ctx.arena.temp(h.shape, h.dtype) : h;
  if (kind) ops::bridge(ctx, sum, h, c, value_of(scalar), *kind);
  if (saved) *saved = {h, apart ? c : Tensor{}, nn::keep_stats(ctx, h)};
  norm.forward(ctx, out, saved ? saved->stats : ops::NormStats{}, sum);
}

Tensor Link::backward(Ctx& ctx, Tensor d, Tensor dh, const Saved& s) const {
  auto scope = ctx.arena.scope("link");
  if (!keeps_c()) {
    norm.backward(ctx, d, d, s.h, s.stats, false);
    return d;
  }
  Tensor sum = ctx.arena.temp(d.shape, d.dtype);
  ops::bridge(ctx, sum, s.h, s.c, scalar->value, *kind);
  norm.backward(ctx, d, d, sum, s.stats, false);
  ops::bridge_backward(ctx, {dh, d, scalar->grad}, d, s.h, s.c, scalar->value, *kind);
  return dh;
}

}  // namespace viaduct
