#include "core/optim/adamw.hpp"

#include <algorithm>
#include <cmath>

#include "core/ops/elementwise.hpp"

namespace viaduct {

AdamW::AdamW(ParameterStore& store, Range owned, AdamWConfig config) : store_(store), owned_(owned), config_(config) {
  Tensor values = store.values(owned);
  bool own_master = values.dtype == DType::bf16;
  DType state = stat_dtype(values.dtype);
  int64_t bytes = align_up(owned.size() * size_of(state), 4096);
  const bool averages = config.average_decay > 0;
  buffer_ = Buffer(values.device, bytes * (2 + own_master + averages));
  m_ = buffer_.view(0, {owned.size()}, state);
  v_ = buffer_.view(bytes, {owned.size()}, state);
  master_ = own_master ? buffer_.view(2 * bytes, {owned.size()}, state) : values;
  if (averages) average_ = buffer_.view((2 + own_master) * bytes, {owned.size()}, state);

  int64_t reached = owned.begin;
  for (const Parameter& p : store.parameters()) {
    Range r{std::max(reached, p.range.begin), std::min(align_up(p.range.end, ParameterStore::kAlignment), owned.end)};
    if (r.empty()) continue;
    const double rate = config.rate ? config.rate(p) : 1;
    Group* last = groups_.empty() ? nullptr : &groups_.back();
    if (last && last->decay == p.options.decay && last->rate == rate && last->range.end == r.begin)
      last->range.end = r.end;
    else
      groups_.push_back({r, p.options.decay, rate});
    reached = r.end;
  }
}

void AdamW::prepare(double* step_scalars, double learning_rate) {
  ++steps_;
  step_scalars[ops::step_scalar::learning_rate] = learning_rate;
  step_scalars[ops::step_scalar::correction1] = 1 - std::pow(config_.beta1, double(steps_));
  step_scalars[ops::step_scalar::average_weight] = steps_ == 1 ? 1 : 1 - config_.average_decay;
  step_scalars[ops::step_scalar::root_correction2] = std::sqrt(1 - std::pow(config_.beta2, double(steps_)));
}

void AdamW::step(Ctx& ctx, Tensor step_scalars) {
  for (const Group& g : groups_) {
    int64_t begin = g.range.begin - owned_.begin, end = g.range.end - owned_.begin;
    ops::adamw(ctx, {.value = store_.values(g.range),
                     .master = master_.slice(begin, end),
                     .m = m_.slice(begin, end),
                     .v = v_.slice(begin, end),
                     .grad = store_.grads(g.range),
                     .scalars = step_scalars,
                     .beta1 = config_.beta1,
                     .beta2 = config_.beta2,
                     .eps = config_.eps,
                     .weight_decay = g.decay ? config_.weight_decay : 0,
                     .rate = g.rate});
  }
  if (average_) ops::moving_average(ctx, average_, master_, step_scalars);
}

void AdamW::begin_average(Ctx& ctx) {
  if (average_) ops::copy(ctx, average_, master_);
}

void AdamW::exchange_average(Ctx& ctx) { ops::exchange(ctx, average_, master_); }

void AdamW::master_from_values(Ctx& ctx) {
  if (master_.data != store_.values(owned_).data) ops::copy(ctx, master_, store_.values(owned_));
}

void AdamW::values_from_master(Ctx& ctx) {
  if (master_.data != store_.values(owned_).data) ops::copy(ctx, store_.values(owned_), master_);
}

}  // namespace viaduct
