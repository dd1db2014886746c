#include "core/ops/cpu/loss.hpp"

#include "core/ops/cpu/exp_sum.hpp"
#include "core/ops/cpu/parallel.hpp"
#include "core/ops/loss.hpp"

namespace viaduct::ops::cpu {
namespace {

// to = weight exp(x - largest) / sum; `to` may be x.
template <class To, class T, class C = compute_t<T>>
void write_probabilities(To* to, const T* x, int64_t n, C largest, C sum, C weight = 1) {
  const C scale = weight / sum;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) to[i] = exp(C(x[i]) - largest) * scale;
}

void check_labels(const int32_t* labels, int64_t samples, int64_t classes) {
  for (int64_t b = 0; b < samples; ++b)
    if (labels[b] != kIgnoredLabel && (labels[b] < 0 || labels[b] >= classes))
      fail(Exit::crash, fmt::format("cross_entropy: label {} of row {} should be in [0, {}) or {}", labels[b], b,
                                    classes, kIgnoredLabel));
}

}  // namespace

void cross_entropy(Tensor losses, Tensor dlogits, Tensor logits, Tensor labels, double weight) {
  int64_t samples = logits.shape[0], classes = logits.shape[1];
  const int32_t* label = data<int32_t>(labels);
  check_labels(label, samples, classes);
  dispatch(logits.dtype, [&]<class T>() {
    using C = compute_t<T>;
    const T* from = data<T>(logits);
    T* to = dlogits ? data<T>(dlogits) : nullptr;
    C* loss = data<C>(losses);
    parallel_rows(samples, classes, [=](int64_t b) {
      const T* x = from + b * classes;
      T* dx = to ? to + b * classes : nullptr;
      if (label[b] == kIgnoredLabel) {
        loss[b] = 0;
        if (dx) std::fill(dx, dx + classes, T(0.0f));
        return;
      }
      auto [largest, sum] = exp_sum(x, classes);
      C own = C(x[label[b]]) - largest;
      loss[b] = C(weight) * (std::log(sum) - own);
      if (!dx) return;
      write_probabilities(dx, x, classes, largest, sum, C(weight));
      dx[label[b]] = C(weight) * (exp(own) / sum - C(1));
    });
  });
}

void softmax(Tensor probabilities, Tensor logits) {
  int64_t classes = logits.shape[1];
  dispatch(logits.dtype, [&]<class T>() {
    using C = compute_t<T>;
    const T* from = data<T>(logits);
    C* to = data<C>(probabilities);
    parallel_rows(logits.shape[0], classes, [=](int64_t b) {
      auto [largest, sum] = exp_sum(from + b * classes, classes);
      write_probabilities(to + b * classes, from + b * classes, classes, largest, sum);
    });
  });
}

}  // namespace viaduct::ops::cpu
