// What a trainer does between backward and the next forward pass, on gradients of one rank.
#pragma once
#include <array>

#include "core/ops/step_tail.hpp"
#include "core/optim/adamw.hpp"

namespace viaduct::test {

// Clips to max_norm and updates; gives the norm of the mean gradient, of `terms` loss terms, before clipping.
inline double one_update(Ctx& ctx, AdamW& optimizer, ParameterStore& store, double learning_rate, double max_norm,
                         double terms) {
  std::array<double, ops::step_scalar::count> numbers{};
  std::array<double, ops::step_sum::count> sums{};
  double squared_norm = 0;
  Tensor scalars{numbers.data(), {ops::step_scalar::count}, DType::f64, Device::cpu()};
  Tensor norm{&squared_norm, {1}, DType::f64, Device::cpu()};
  optimizer.prepare(numbers.data(), learning_rate);
  numbers[ops::step_scalar::max_norm] = max_norm, sums[ops::step_sum::terms] = terms;
  ops::squared_norm(ctx, norm, store.grads(store.range()));
  ops::clip(ctx, scalars, norm, {sums.data(), {ops::step_sum::count}, DType::f64, Device::cpu()});
  optimizer.step(ctx, scalars);
  ctx.packed.values_changed();
  return numbers[ops::step_scalar::grad_norm];
}

}  // namespace viaduct::test
