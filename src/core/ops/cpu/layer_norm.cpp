#include "core/ops/cpu/layer_norm.hpp"

#include <cmath>

#include "core/ops/cpu/parallel.hpp"
#include "core/ops/cpu/vector.hpp"

namespace viaduct::ops::cpu {
namespace {

// R rows at a time: their sums grow side by side, and gamma, beta and their gradients are read once for all.
// The rows stay in the first-level cache while they are read again.
template <int R, class T, class C = compute_t<T>>
void normalize(T* y, const T* x, const T* gamma, const T* beta, int64_t columns, C eps, C* means, C* rstds) {
  Vec<C> sums[R]{}, squares[R]{};
  for_vectors<C>(columns, [&](int64_t i, auto n) {
    for (int r = 0; r < R; ++r) sums[r] += load(x + r * columns + i, n);
  });
  for (int r = 0; r < R; ++r) means[r] = total<C>(sums[r]) / C(columns);
  for_vectors<C>(columns, [&](int64_t i, auto n) {
    for (int r = 0; r < R; ++r) {
      Vec<C> centred = first<C>(load(x + r * columns + i, n) - means[r], n);
      squares[r] += centred * centred;
    }
  });
  for (int r = 0; r < R; ++r) rstds[r] = C(1) / std::sqrt(total<C>(squares[r]) / C(columns) + eps);
  for_vectors<C>(columns, [&](int64_t i, auto n) {
    Vec<C> scale = load(gamma + i, n), shift = load(beta + i, n);
    for (int r = 0; r < R; ++r)
      store(y + r * columns + i, (load(x + r * columns + i, n) - means[r]) * rstds[r] * scale + shift, n);
  });
}

// Adds to dgamma and dbeta on the way.
template <int R, bool accumulate, class T, class C = compute_t<T>>
void backward(T* dx, const T* dy, const T* x, const T* gamma, int64_t columns, const C* means, const C* rstds,
              C* dgamma, C* dbeta) {
  Vec<C> sums[R]{}, products[R]{};
  for_vectors<C>(columns, [&](int64_t i, auto n) {
    Vec<C> scale = load(gamma + i, n), to_gamma = load(dgamma + i, n), to_beta = load(dbeta + i, n);
    for (int r = 0; r < R; ++r) {
      Vec<C> normalized = (load(x + r * columns + i, n) - means[r]) * rstds[r], d = load(dy + r * columns + i, n);
      to_gamma += d * normalized, to_beta += d;
      sums[r] += d * scale, products[r] += d * scale * normalized;
    }
    store(dgamma + i, to_gamma, n), store(dbeta + i, to_beta, n);
  });
  C mean_sum[R], mean_product[R];
  for (int r = 0; r < R; ++r) {
    mean_sum[r] = total<C>(sums[r]) / C(columns);
    mean_product[r] = total<C>(products[r]) / C(columns);
  }
  for_vectors<C>(columns, [&](int64_t i, auto n) {
    Vec<C> scale = load(gamma + i, n);
    for (int r = 0; r < R; ++r) {
      Vec<C> normalized = (load(x + r * columns + i, n) - means[r]) * rstds[r];
      Vec<C> d = (load(dy + r * columns + i, n) * scale - mean_sum[r] - normalized * mean_product[r]) * rstds[r];
      if constexpr (accumulate) d += load(dx + r * columns + i, n);
      store(dx + r * columns + i, d, n);
    }
  });
}

// f.template operator()<R>(row) for the rows of a range, R at a time.
template <int R, class F>
void for_row_groups(Range rows, F f) {
  int64_t row = rows.begin;
  for (; row + R <= rows.end; row += R) f.template operator()<R>(row);
  for (; row < rows.end; ++row) f.template operator()<1>(row);
}

template <class C>
void add_chunks(C* dgamma, C* dbeta, const C* partial, int64_t chunks, int64_t columns) {
  parallel_blocks(columns, 256, [=](Range r) {
    for (int64_t c = 0; c < chunks; ++c) {
      const C *gamma = partial + 2 * c * columns, *beta = gamma + columns;
#pragma omp simd
      for (int64_t i = r.begin; i < r.end; ++i) dgamma[i] += gamma[i], dbeta[i] += beta[i];
    }
  });
}

}  // namespace

void layer_norm(Tensor y, NormStats stats, Tensor x, Tensor gamma, Tensor beta, double eps) {
  constexpr int kRows = 4;
  int64_t columns = x.shape.last();
  dispatch(x.dtype, [&]<class T>() {
    using C = compute_t<T>;
    T* to = data<T>(y);
    const T *from = data<T>(x), *scale = data<T>(gamma), *shift = data<T>(beta);
    C *means = stats.mean ? data<C>(stats.mean) : nullptr, *rstds = stats.mean ? data<C>(stats.rstd) : nullptr;
    parallel_blocks(x.shape.rows(), row_block(columns, kRows), [=](Range rows) {
      for_row_groups<kRows>(rows, [=]<int R>(int64_t row) {
        C mean[R], rstd[R];
        int64_t at = row * columns;
        normalize<R>(to + at, from + at, scale, shift, columns, C(eps), mean, rstd);
        if (means) std::copy_n(mean, R, means + row), std::copy_n(rstd, R, rstds + row);
      });
    });
  });
}

void layer_norm_backward(NormGrads grads, Tensor partial, Tensor dy, Tensor x, NormStats stats, Tensor gamma) {
  constexpr int kRows = 2;
  int64_t columns = x.shape.last(), rows = x.shape.rows(), chunks = norm_chunks(rows);
  dispatch(x.dtype, [&]<class T>() {
    using C = compute_t<T>;
    T* dx = data<T>(grads.dx);
    const T *g = data<T>(dy), *from = data<T>(x), *scale = data<T>(gamma);
    const C *means = data<C>(stats.mean), *rstds = data<C>(stats.rstd);
    C* shares = data<C>(partial);
#pragma omp parallel for schedule(static) if (rows * columns > kBlock)
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      C *dgamma = shares + 2 * chunk * columns, *dbeta = dgamma + columns;
      std::fill(dgamma, dbeta + columns, C(0));
      for_row_groups<kRows>(split_evenly(rows, chunk, chunks), [=]<int R>(int64_t row) {
        int64_t at = row * columns;
        auto run = grads.accumulate ? backward<R, true, T> : backward<R, false, T>;
        run(dx + at, g + at, from + at, scale, columns, means + row, rstds + row, dgamma, dbeta);
      });
    }
    if (grads.dgamma) add_chunks(data<C>(grads.dgamma), data<C>(grads.dbeta), shares, chunks, columns);
  });
}

}  // namespace viaduct::ops::cpu
