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

void check_labels(const int32_t* labels, int64_t samples, int64_t classes, bool may_be_ignored = true) {
  for (int64_t b = 0; b < samples; ++b)
    if (!(may_be_ignored && labels[b] == kIgnoredLabel) && (labels[b] < 0 || labels[b] >= classes))
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

void soft_cross_entropy(Tensor losses, Tensor dlogits, Tensor logits, const SoftLabels& soft) {
  int64_t samples = logits.shape[0], classes = logits.shape[1];
  const int32_t *label = data<int32_t>(soft.labels), *other = soft.others ? data<int32_t>(soft.others) : label;
  for (const int32_t* each : {label, other}) check_labels(each, samples, classes, false);
  dispatch(logits.dtype, [&]<class T>() {
    using C = compute_t<T>;
    const T* from = data<T>(logits);
    T* to = dlogits ? data<T>(dlogits) : nullptr;
    C* loss = data<C>(losses);
    const C* share = soft.shares ? data<C>(soft.shares) : nullptr;
    const C base = C(soft.smoothing) / C(classes), rest = C(1) - C(soft.smoothing);
    parallel_rows(samples, classes, [=](int64_t b) {
      const T* x = from + b * classes;
      auto [largest, sum] = exp_sum(x, classes);
      const C mine = rest * (share ? share[b] : C(1)), theirs = rest - mine;
      const C own = C(x[label[b]]) - largest, others = C(x[other[b]]) - largest;
      C all = 0;
      if (base > 0)
#pragma omp simd reduction(+ : all)
        for (int64_t c = 0; c < classes; ++c) all += C(x[c]) - largest;
      loss[b] = std::log(sum) - (mine * own + theirs * others + base * all);
      if (!to) return;
      T* dx = to + b * classes;
      const C scale = C(1) / sum;
#pragma omp simd
      for (int64_t c = 0; c < classes; ++c) dx[c] = exp(C(x[c]) - largest) * scale - base;
      dx[other[b]] = exp(others) / sum - base - theirs;
      dx[label[b]] = exp(own) / sum - base - (label[b] == other[b] ? rest : mine);
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
