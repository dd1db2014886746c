#include "core/ops/cpu/distillation.hpp"

#include <algorithm>

#include "core/ops/cpu/exp_sum.hpp"
#include "core/ops/cpu/parallel.hpp"

namespace viaduct::ops::cpu {
namespace {

template <class T>
T* data_or_null(const Tensor& t) {
  return t ? data<T>(t) : nullptr;
}

}  // namespace

void distillation_kl(Tensor losses, Tensor dlogits, Tensor logits, Tensor teacher, DistillationKl o) {
  const int64_t classes = logits.shape[1];
  dispatch(logits.dtype, [&]<class T>() {
    using C = compute_t<T>;
    const T *from = data<T>(logits), *taught = data<T>(teacher);
    T* to = data_or_null<T>(dlogits);
    C* loss = data_or_null<C>(losses);
    const C scale = C(1 / o.temperature), weight = C(o.weight), slope = C(o.weight / o.temperature);
    parallel_rows(logits.shape[0], classes, [=](int64_t b) {
      const T *x = from + b * classes, *t = taught + b * classes;
      const auto [x_most, x_sum] = exp_sum(x, classes, scale);
      const auto [t_most, t_sum] = exp_sum(t, classes, scale);
      const C x_log = std::log(x_sum), t_log = std::log(t_sum), x_top = x_most, t_top = t_most;
      C kl = 0;
#pragma omp simd reduction(+ : kl)
      for (int64_t i = 0; i < classes; ++i) {
        const C log_q = C(x[i]) * scale - x_top - x_log, log_p = C(t[i]) * scale - t_top - t_log;
        kl += exp(log_p) * (log_p - log_q);
      }
      if (loss) loss[b] += weight * kl;
      if (!to) return;
      T* dx = to + b * classes;
#pragma omp simd
      for (int64_t i = 0; i < classes; ++i) {
        const C q = exp(C(x[i]) * scale - x_top - x_log), p = exp(C(t[i]) * scale - t_top - t_log);
        dx[i] = C(dx[i]) + slope * (q - p);
      }
    });
  });
}

void squared_error(Tensor losses, Tensor dx, Tensor x, Tensor target, double weight) {
  const int64_t samples = x.shape[0], size = samples ? x.numel() / samples : 0;
  dispatch(x.dtype, [&]<class T>() {
    using C = compute_t<T>;
    const T *from = data<T>(x), *wanted = data<T>(target);
    T* to = data_or_null<T>(dx);
    C* loss = data_or_null<C>(losses);
    parallel_rows(samples, size, [=](int64_t b) {
      const T *v = from + b * size, *t = wanted + b * size;
      C sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < size; ++i) sum += (C(v[i]) - C(t[i])) * (C(v[i]) - C(t[i]));
      if (loss) loss[b] += C(weight) * sum;
      if (!to) return;
      T* d = to + b * size;
#pragma omp simd
      for (int64_t i = 0; i < size; ++i) d[i] = C(d[i]) + C(2 * weight) * (C(v[i]) - C(t[i]));
    });
  });
}

void argmax(Tensor labels, Tensor logits) {
  const int64_t classes = logits.shape[1];
  dispatch(logits.dtype, [&]<class T>() {
    using C = compute_t<T>;
    for (int64_t b = 0; b < logits.shape[0]; ++b) {
      const T* x = data<T>(logits) + b * classes;
      auto less = [](T a, T b) { return C(a) < C(b); };
      data<int32_t>(labels)[b] = int32_t(std::max_element(x, x + classes, less) - x);
    }
  });
}

}  // namespace viaduct::ops::cpu
