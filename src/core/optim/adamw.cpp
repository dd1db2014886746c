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
  buffer_ = Buffer(values.device, bytes * (own_master ? 3 : 2));
  m_ = buffer_.view(0, {owned.size()}, state);
  v_ = buffer_.view(bytes, {owned.size()}, state);
  master_ = own_master ? buffer_.view(2 * bytes, {owned.size()}, state) : values;

  int64_t reached = owned.begin;
  for (const Parameter& p : store.parameters()) {
    Range r{std::max(reached, p.range.begin), std::min(align_up(p.range.end, ParameterStore::kAlignment), owned.end)};
    if (r.empty()) continue;
    if (!groups_.empty() && groups_.back().decay == p.options.decay && groups_.back().range.end == r.begin)
      groups_.back().range.end = r.end;
    else
      groups_.push_back({r, p.options.decay});
    reached = r.end;
  }
}

void AdamW::prepare(double* step_scalars, double learning_rate) {
  ++steps_;
  step_scalars[ops::step_scalar::learning_rate] = learning_rate;
  step_scalars[ops::step_scalar::correction1] = 1 - std::pow(config_.beta1, double(steps_));
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
                     .weight_decay = g.decay ? config_.weight_decay : 0});
  }
}

void AdamW::master_from_values(Ctx& ctx) {
  if (master_.data != store_.values(owned_).data) ops::copy(ctx, master_, store_.values(owned_));
}

void AdamW::values_from_master(Ctx& ctx) {
  if (master_.data != store_.values(owned_).data) ops::copy(ctx, store_.values(owned_), master_);
}

}  // namespace viaduct
