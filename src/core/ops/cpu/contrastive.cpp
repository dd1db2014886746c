#include "core/ops/cpu/contrastive.hpp"

#include <cmath>
#include <numeric>

#include "core/ops/cpu/elementwise.hpp"
#include "core/ops/cpu/loss.hpp"
#include "core/ops/cpu/onednn.hpp"
#include "core/ops/cpu/parallel.hpp"

namespace viaduct::ops::cpu {
namespace {

constexpr double kSmallestNorm = 1e-12;  // torch's default

template <class T, class U, class C = compute_t<T>>
C dot(const T* a, const U* b, int64_t n) {
  C sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += C(a[i]) * C(b[i]);
  return sum;
}

// fp64 serves gradient checks: plain sums.
void product(double* c, int64_t m, int64_t n, int64_t k, Stored<double> a, Stored<double> b, bool accumulate) {
  int64_t a_row = a.transposed ? 1 : k, a_step = a.transposed ? m : 1;
  int64_t b_column = b.transposed ? k : 1, b_step = b.transposed ? 1 : n;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = accumulate ? c[i * n + j] : 0;
      for (int64_t l = 0; l < k; ++l) sum += a.data[i * a_row + l * a_step] * b.data[j * b_column + l * b_step];
      c[i * n + j] = sum;
    }
}

template <class C, class T>
void add_to(T* to, const C* from, int64_t n) {
  parallel_blocks(n, kBlock, [=](Range r) {
#pragma omp simd
    for (int64_t i = r.begin; i < r.end; ++i) to[i] = C(to[i]) + from[i];
  });
}

// Working memory, all in the dtype of statistics.
struct Scratch {
  Tensor queries;  // [R, C], q itself if it is of this dtype
  Tensor keys;     // [N, C], likewise
  Tensor logits;   // [R, N], then the gradient of q k^T
  Tensor labels;   // [R] int32
  Tensor dq;       // [R, C]
  Tensor dk;       // [N, C]; absent: dk itself is of this dtype
  Tensor dots;     // [R]
};

Scratch make_scratch(Ctx& ctx, const ContrastiveGrads& grads, const ContrastiveArgs& a) {
  DType t = stat_dtype(a.q.dtype);
  auto make = [&](Shape shape) { return ctx.arena.temp(shape, t); };
  int64_t R = a.q.shape[0], N = a.k.shape[0];
  Scratch s{.queries = a.q, .keys = a.k, .logits = make({R, N}), .labels = ctx.arena.temp({R}, DType::i32)};
  if (a.q.dtype != t) s.queries = make(a.q.shape), s.keys = make(a.k.shape);
  if (grads.dq || grads.dlog_scale) s.dq = make(a.q.shape), s.dots = make({R});
  if (grads.dk && grads.dk.dtype != t) s.dk = make(a.k.shape);
  return s;
}

template <class C>
void multiply(const Tensor& t, C factor) {
  C* x = data<C>(t);
  parallel_blocks(t.numel(), kBlock, [=](Range r) {
#pragma omp simd
    for (int64_t i = r.begin; i < r.end; ++i) x[i] *= factor;
  });
}

// s.logits hold G, the gradient of q k^T. dq = G k, dk = G^T q; the gradient of log_scale, the sum of G * q k^T, is that
// of q * dq.
template <class T, class C = compute_t<T>>
void add_gradients(const Scratch& s, const ContrastiveGrads& grads, const ContrastiveArgs& a) {
  int64_t R = a.q.shape[0], N = a.k.shape[0], width = a.q.shape[1];
  const C* g = data<C>(s.logits);
  if (s.dq) {
    C *dq = data<C>(s.dq), *dots = data<C>(s.dots);
    const T* q = data<T>(a.q);
    product(dq, R, width, N, Stored<C>{g}, Stored<C>{data<C>(s.keys)}, false);
    parallel_rows(R, width, [=](int64_t r) { dots[r] = dot(q + r * width, dq + r * width, width); });
    if (grads.dq) add_to(data<T>(grads.dq), dq, R * width);
    if (grads.dlog_scale) *data<C>(grads.dlog_scale) += std::accumulate(dots, dots + R, C(0));
  }
  if (!grads.dk) return;
  Stored<C> transposed{g, true}, queries{data<C>(s.queries)};
  if (!s.dk) return product(data<C>(grads.dk), N, width, R, transposed, queries, true);
  product(data<C>(s.dk), N, width, R, transposed, queries, false);
  add_to(data<T>(grads.dk), data<C>(s.dk), N * width);
}

double value_of(const Tensor& scalar) {
  return dispatch(scalar.dtype, [&]<class T>() { return double(compute_t<T>(*data<T>(scalar))); });
}

}  // namespace

void l2_normalize(Tensor y, Tensor x) {
  int64_t n = x.shape.last();
  dispatch(x.dtype, [&]<class T>() {
    using C = compute_t<T>;
    T* to = data<T>(y);
    const T* from = data<T>(x);
    parallel_rows(x.shape.rows(), n, [=](int64_t r) {
      const T* row = from + r * n;
      C norm = std::max(std::sqrt(dot(row, row, n)), C(kSmallestNorm));
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) to[r * n + i] = C(row[i]) / norm;
    });
  });
}

void l2_normalize_backward(Tensor dx, Tensor dy, Tensor x) {
  int64_t n = x.shape.last();
  dispatch(x.dtype, [&]<class T>() {
    using C = compute_t<T>;
    T* to = data<T>(dx);
    const T *grad = data<T>(dy), *from = data<T>(x);
    parallel_rows(x.shape.rows(), n, [=](int64_t r) {
      const T *row = from + r * n, *g = grad + r * n;
      C norm = std::sqrt(dot(row, row, n));
      bool cut = norm < C(kSmallestNorm);  // there the norm is a constant
      C scale = C(1) / (cut ? C(kSmallestNorm) : norm);
      C along = cut ? C(0) : dot(row, g, n) * scale * scale;
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) to[r * n + i] = (C(g[i]) - along * C(row[i])) * scale;
    });
  });
}

void contrastive(Ctx& ctx, Tensor losses, const ContrastiveGrads& grads, const ContrastiveArgs& a) {
  auto scope = ctx.arena.scope("contrastive");
  Scratch s = make_scratch(ctx, grads, a);
  if (ctx.device().is_meta() || a.q.numel() == 0) return;
  int64_t R = a.q.shape[0], N = a.k.shape[0], width = a.q.shape[1];
  if (s.queries.data != a.q.data) copy(s.queries, a.q), copy(s.keys, a.k);
  std::iota(data<int32_t>(s.labels), data<int32_t>(s.labels) + R, int32_t(a.first));
  dispatch(a.q.dtype, [&]<class T>() {
    using C = compute_t<T>;
    C scale = std::exp(C(value_of(a.log_scale)));
    Stored<C> queries{data<C>(s.queries)}, keys{data<C>(s.keys), true};
    product(data<C>(s.logits), R, N, width, queries, keys, false);
    multiply(s.logits, scale);
    bool wanted = grads.dq || grads.dk || grads.dlog_scale;
    cross_entropy(losses, wanted ? s.logits : Tensor{}, s.logits, s.labels, a.weight);
    if (!wanted) return;
    multiply(s.logits, scale);
    add_gradients<T>(s, grads, a);
  });
}

}  // namespace viaduct::ops::cpu
