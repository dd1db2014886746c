#include "core/ops/cpu/layer_norm.hpp"

#include <cmath>

#include "core/ops/cpu/parallel.hpp"

namespace viaduct::ops::cpu {
namespace {

// One row of the forward pass; it stays in the first-level cache while it is read three times.
template <class T, class C = compute_t<T>>
void normalize_row(T* y, const T* x, const T* gamma, const T* beta, int64_t columns, C eps, C& mean_out, C& rstd_out) {
  C sum = 0, square = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < columns; ++i) sum += C(x[i]);
  const C mean = sum / C(columns);
#pragma omp simd reduction(+ : square)
  for (int64_t i = 0; i < columns; ++i) square += (C(x[i]) - mean) * (C(x[i]) - mean);
  const C rstd = C(1) / std::sqrt(square / C(columns) + eps);
#pragma omp simd
  for (int64_t i = 0; i < columns; ++i) y[i] = T((C(x[i]) - mean) * rstd * C(gamma[i]) + C(beta[i]));
  mean_out = mean, rstd_out = rstd;
}

template <class T, class C = compute_t<T>>
struct BackwardRow {
  const T *dy, *x, *gamma;
  C mean, rstd;
  int64_t columns;

  // Adds the row's share to dgamma and dbeta, and sums what dx needs.
  void sums(C* dgamma, C* dbeta, C& sum_out, C& product_out) const {
    C sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
    for (int64_t i = 0; i < columns; ++i) {
      C normalized = (C(x[i]) - mean) * rstd, g = C(dy[i]);
      dgamma[i] += g * normalized;
      dbeta[i] += g;
      C scaled = g * C(gamma[i]);
      sum += scaled;
      product += scaled * normalized;
    }
    sum_out = sum, product_out = product;
  }

  template <bool accumulate>
  void write(T* dx, C sum, C product) const {
    const C a = sum / C(columns), b = product / C(columns);
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) {
      C normalized = (C(x[i]) - mean) * rstd;
      C d = rstd * (C(dy[i]) * C(gamma[i]) - a - normalized * b);
      dx[i] = T(accumulate ? C(dx[i]) + d : d);
    }
  }
};

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
  int64_t columns = x.shape.last();
  dispatch(x.dtype, [&]<class T>() {
    using C = compute_t<T>;
    T* to = data<T>(y);
    const T *from = data<T>(x), *scale = data<T>(gamma), *shift = data<T>(beta);
    C *means = stats.mean ? data<C>(stats.mean) : nullptr, *rstds = stats.mean ? data<C>(stats.rstd) : nullptr;
    parallel_rows(x.shape.rows(), columns, [=](int64_t r) {
      C mean, rstd;
      normalize_row(to + r * columns, from + r * columns, scale, shift, columns, C(eps), mean, rstd);
      if (means) means[r] = mean, rstds[r] = rstd;
    });
  });
}

void layer_norm_backward(NormGrads grads, Tensor partial, Tensor dy, Tensor x, NormStats stats, Tensor gamma) {
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
      Range r = split_evenly(rows, chunk, chunks);
      for (int64_t row = r.begin; row < r.end; ++row) {
        int64_t at = row * columns;
        BackwardRow<T> backward{g + at, from + at, scale, means[row], rstds[row], columns};
        C sum, product;
        backward.sums(dgamma, dbeta, sum, product);
        if (grads.accumulate)
          backward.template write<true>(dx + at, sum, product);
        else
          backward.template write<false>(dx + at, sum, product);
      }
    }
    add_chunks(data<C>(grads.dgamma), data<C>(grads.dbeta), shares, chunks, columns);
  });
}

}  // namespace viaduct::ops::cpu
