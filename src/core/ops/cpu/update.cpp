#include "core/ops/cpu/update.hpp"

#include <cmath>

#include "core/ops/clip_step.hpp"
#include "core/ops/cpu/parallel.hpp"
#include "core/ops/lerp.hpp"

namespace viaduct::ops::cpu {
namespace {

// In a fixed number of lanes, spelt out, so that the order of the sum is no compiler's choice.
template <class T>
double sum_of_squares(const T* x, int64_t n) {
  constexpr int64_t kLanes = 32;
  double lanes[kLanes] = {};
  int64_t whole = n - n % kLanes;
  for (int64_t at = 0; at < whole; at += kLanes)
    for (int64_t i = 0; i < kLanes; ++i) lanes[i] += double(x[at + i]) * double(x[at + i]);
  for (int64_t i = whole; i < n; ++i) lanes[i - whole] += double(x[i]) * double(x[i]);
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

// The scalars of one step, prepared in double and rounded once, as torch does.
template <class C>
struct AdamWScalars {
  AdamWScalars(const AdamWArgs& a, const double* step)
      : grad_scale(C(step[step_scalar::grad_scale])),
        decay(C(1 - step[step_scalar::learning_rate] * a.rate * a.weight_decay)),
        one_minus_beta1(C(1 - a.beta1)),
        beta2(C(a.beta2)),
        one_minus_beta2(C(1 - a.beta2)),
        root_correction2(C(step[step_scalar::root_correction2])),
        eps(C(a.eps)),
        step_size(C(step[step_scalar::learning_rate] * a.rate / step[step_scalar::correction1])) {}
  const C grad_scale, decay, one_minus_beta1, beta2, one_minus_beta2, root_correction2, eps, step_size;
};

// master is value itself unless value is of lower precision.
template <class T, class C>
void adamw_block(Range r, T* value, C* master, C* m, C* v, const C* grad, const AdamWScalars<C> s) {
#pragma omp simd
  for (int64_t i = r.begin; i < r.end; ++i) {
    C g = grad[i] * s.grad_scale, p = master[i] * s.decay;
    C m_new = m[i] + s.one_minus_beta1 * (g - m[i]);
    C v_new = v[i] * s.beta2 + s.one_minus_beta2 * g * g;
    p -= s.step_size * m_new / (std::sqrt(v_new) / s.root_correction2 + s.eps);
    m[i] = m_new, v[i] = v_new, master[i] = p;
    if constexpr (!std::is_same_v<T, C>) value[i] = p;
  }
}

}  // namespace

void squared_norm_chunks(Tensor out, Tensor x) {
  double* sums = data<double>(out);
  auto chunk_sums = [&]<class T>(const T* from) {
    parallel_blocks(x.numel(), kNormChunk,
                    [=](Range r) { sums[r.begin / kNormChunk] = sum_of_squares(from + r.begin, r.size()); });
  };
  if (x.dtype == DType::f64)
    chunk_sums(data<double>(x));
  else
    chunk_sums(data<float>(x));
}

void sum_in_order(Tensor out, Tensor sums) {
  double sum = 0;
  for (int64_t i = 0; i < sums.numel(); ++i) sum += data<double>(sums)[i];
  *data<double>(out) = sum;
}

void clip(Tensor scalars, Tensor squared_norm, Tensor sums) {
  clip_step(data<double>(scalars), *data<double>(squared_norm), data<double>(sums));
}

void adamw(const AdamWArgs& a) {
  dispatch(a.value.dtype, [&]<class T>() {
    using C = compute_t<T>;
    AdamWScalars<C> scalars(a, data<double>(a.scalars));
    if (!std::isfinite(data<double>(a.scalars)[step_scalar::grad_scale])) return;
    T* value = data<T>(a.value);
    C *master = data<C>(a.master), *m = data<C>(a.m), *v = data<C>(a.v);
    const C* grad = data<C>(a.grad);
    parallel_blocks(a.value.numel(), kBlock, [=](Range r) { adamw_block(r, value, master, m, v, grad, scalars); });
  });
}

void moving_average(Tensor average, Tensor values, Tensor scalars) {
  const double* step = data<double>(scalars);
  if (!std::isfinite(step[step_scalar::grad_scale])) return;
  auto follow = [&]<class C>(C* to, const C* from) {
    const C weight = C(step[step_scalar::average_weight]);
    parallel_blocks(average.numel(), kBlock, [=](Range r) {
#pragma omp simd
      for (int64_t i = r.begin; i < r.end; ++i) to[i] = lerp(to[i], from[i], weight);
    });
  };
  average.dtype == DType::f64 ? follow(data<double>(average), data<double>(values))
                              : follow(data<float>(average), data<float>(values));
}

void exchange(Tensor a, Tensor b) {
  auto swap = [&]<class C>(C* x, C* y) {
    parallel_blocks(a.numel(), kBlock, [=](Range r) { std::swap_ranges(x + r.begin, x + r.end, y + r.begin); });
  };
  a.dtype == DType::f64 ? swap(data<double>(a), data<double>(b)) : swap(data<float>(a), data<float>(b));
}

}  // namespace viaduct::ops::cpu
