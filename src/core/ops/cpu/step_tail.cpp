#include "core/ops/cpu/step_tail.hpp"

#include "core/ops/step_tail_digits.hpp"

namespace viaduct::ops::cpu {
namespace {

template <class F>
void with_floats(const Tensor& t, F&& f) {
  t.dtype == DType::f32 ? f(data<float>(t)) : f(data<double>(t));
}

}  // namespace

void add_counts(Tensor sums, Tensor counts) { step_tail::add_counts(data<double>(sums), data<double>(counts)); }

void add_losses(Tensor sums, Tensor losses, int64_t terms) {
  double* to = data<double>(sums);
  with_floats(losses, [&](auto* at) {
    double sum = 0;
    for (int64_t i = 0; i < losses.numel(); ++i) sum += double(at[i]);
    to[step_sum::loss] += sum;
  });
  to[step_sum::terms] += double(terms);
}

void write_step_tail(Tensor slot, Tensor sums) {
  with_floats(slot, [&](auto* at) { step_tail::write(at, data<double>(sums)); });
}

void read_step_tail(Tensor sums, Tensor slot) {
  with_floats(slot, [&](auto* at) { step_tail::read(data<double>(sums), at); });
}

}  // namespace viaduct::ops::cpu
