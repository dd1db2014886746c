#include "core/ops/cpu/linear.hpp"

#include "core/ops/cpu/activation_math.hpp"
#include "core/ops/cpu/elementwise.hpp"
#include "core/ops/cpu/matrix_product.hpp"
#include "core/ops/cpu/onednn.hpp"
#include "core/ops/cpu/packed_cache.hpp"
#include "core/ops/cpu/parallel.hpp"
#include "core/ops/operand_check.hpp"

namespace viaduct::ops::cpu {
namespace {

using Use = PackedWeights::Impl::Use;

// Whether memory was all that was asked for; a rank without samples has no rows.
bool idle(const Ctx& ctx, const Tensor& rows) { return ctx.device().is_meta() || rows.numel() == 0; }

// `t` in another dtype: itself, or a copy in working memory.
Tensor as_dtype(Ctx& ctx, Tensor t, DType dtype) {
  if (t.dtype == dtype) return t;
  Tensor converted = ctx.arena.temp(t.shape, dtype);
  if (!idle(ctx, t)) copy(converted, t);
  return converted;
}

// A bf16 weight where the machine has no bf16 products: its fp32 copy, which serves all uses.
Tensor widened_weight(Ctx& ctx, Tensor weight) {
  Tensor wide{nullptr, weight.shape, DType::f32, weight.device};
  const void* data = ctx.packed.impl().get(weight, Use::forward, wide.bytes(), [&](void* to) {
    wide.data = to;
    copy(wide, weight);
  });
  wide.data = const_cast<void*>(data);
  return wide;
}

// c = a weight^T (forward) or a weight (input_grad), or c += that, in bf16; c may be wider.
void multiply_bf16(Ctx& ctx, Tensor c, Tensor a, Tensor weight, Use use, Tensor bias, bool accumulate) {
  int64_t m = a.shape.rows(), n = c.shape.last(), k = a.shape.last();
  Tensor narrow = as_dtype(ctx, a, DType::bf16);
  const void* packed = ctx.packed.impl().get(weight, use, packed_bytes(k, n), [&](void* to) {
    pack(to, k, n, {data<bf16>(weight), use == Use::forward});
  });
  if (idle(ctx, a)) return;
  auto run = [&]<class T>() {
    const bf16* row = bias ? data<bf16>(bias) : nullptr;
    product_packed(data<T>(c), m, n, k, data<bf16>(narrow), packed, row, accumulate);
  };
  c.dtype == DType::bf16 ? run.operator()<bf16>() : run.operator()<float>();
}

template <class T>
Tensor make_scratch(Ctx& ctx, int64_t m, int64_t n, int64_t k) {
  return ctx.arena.temp({product_scratch<T>(m, n, k)}, dtype_of<T>);
}

// Calls f(first element, count) for the rows of a part of a matrix of n columns. `far` is the matrix that is not in
// cache: pieces of rows are too short for the hardware to foresee the next.
template <class T, class F>
Finish by_rows(int64_t n, const T* far, F f) {
  return [=](Range rows, Range columns) {
    constexpr int64_t kRowsAhead = 4, kLine = 64 / int64_t(sizeof(T));
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const int64_t first = row * n + columns.begin;
      for (int64_t j = 0; j < columns.size(); j += kLine) __builtin_prefetch(far + first + kRowsAhead * n + j);
      f(first, columns.size());
    }
  };
}

// dbias += the sums of the columns of dy; a cut by columns, so that the order of a sum is that of the rows.
template <class T, class C = compute_t<T>>
void add_column_sums(C* dbias, const T* dy, int64_t rows, int64_t columns) {
  constexpr int64_t kWidth = 128, kRows = 64;  // sums of 64 rows are summed: less rounding
  parallel_blocks(columns, rows * columns > kBlock ? kWidth : columns, [=](Range r) {
    for (int64_t begin = r.begin; begin < r.end; begin += kWidth) {
      int64_t n = std::min(kWidth, r.end - begin);
      for (int64_t first = 0; first < rows; first += kRows) {
        C sums[kWidth] = {};
        for (int64_t i = first; i < std::min(rows, first + kRows); ++i)
#pragma omp simd
          for (int64_t j = 0; j < n; ++j) sums[j] += C(dy[i * columns + begin + j]);
#pragma omp simd
        for (int64_t j = 0; j < n; ++j) dbias[begin + j] += sums[j];
      }
    }
  });
}

void linear_bf16(Ctx& ctx, Tensor y, Tensor x, Tensor weight, const LinearOptions& o) {
  if (o.residual && !idle(ctx, x) && y.data != o.residual.data) copy(y, o.residual);
  Tensor sums = o.pre ? o.pre : y;
  multiply_bf16(ctx, sums, x, weight, Use::forward, o.bias, bool(o.residual));
  if (!idle(ctx, x) && (o.pre || o.activation != Activation::none)) activation(y, sums, o.activation);
}

template <class T>
void linear_wide(Ctx& ctx, Tensor y, Tensor x, Tensor weight, const LinearOptions& o) {
  int64_t m = x.shape.rows(), n = weight.shape[0], k = weight.shape[1];
  Tensor scratch = make_scratch<T>(ctx, m, n, k);
  if (idle(ctx, x)) return;
  T *to = data<T>(y), *sums = o.pre ? data<T>(o.pre) : to;
  Finish finish;
  if (o.pre || o.activation != Activation::none)
    finish = with_activation(o.activation, [=]<Activation A>() {
      return by_rows(n, to, [=](int64_t first, int64_t count) {
#pragma omp simd
        for (int64_t i = first; i < first + count; ++i) to[i] = activate<A>(sums[i]);
      });
    });
  Start<T> start{o.residual ? data<T>(o.residual) : nullptr, o.bias ? data<T>(o.bias) : nullptr};
  product(data<T>(scratch), sums, m, n, k, {data<T>(x)}, {data<T>(weight), true}, start, finish);
}

template <class T>
void input_grad_wide(Ctx& ctx, Tensor dx, Tensor dy, Tensor weight, const LinearInputGradOptions& o) {
  int64_t m = dy.shape.rows(), n = weight.shape[1], k = weight.shape[0];
  Tensor scratch = make_scratch<T>(ctx, m, n, k);
  if (idle(ctx, dy)) return;
  T* to = data<T>(dx);
  Finish finish;
  if (o.activation != Activation::none)
    finish = with_activation(o.activation, [&]<Activation A>() {
      const T* pre = data<T>(o.pre);
      return by_rows(n, pre, [to, pre](int64_t first, int64_t count) {
#pragma omp simd
        for (int64_t i = first; i < first + count; ++i) to[i] *= activate_slope<A>(pre[i]);
      });
    });
  Start<T> start{o.accumulate ? to : nullptr};
  product(data<T>(scratch), to, m, n, k, {data<T>(dy)}, {data<T>(weight)}, start, finish);
}

// Where bf16 is not multiplied, fp32 copies are.
Tensor widened(Ctx& ctx, Tensor t) { return t ? as_dtype(ctx, t, DType::f32) : t; }
void narrow(Ctx& ctx, Tensor to, Tensor from) {
  if (to && to.data != from.data && !idle(ctx, to)) copy(to, from);
}

}  // namespace

void linear(Ctx& ctx, Tensor y, Tensor x, Tensor weight, const LinearOptions& o) {
  auto scope = ctx.arena.scope("linear");
  if (weight.dtype == DType::f64) return linear_wide<double>(ctx, y, x, weight, o);
  if (weight.dtype == DType::f32) return linear_wide<float>(ctx, y, x, weight, o);
  if (has_bf16_products()) return linear_bf16(ctx, y, x, weight, o);
  Tensor wide_y = widened(ctx, y), pre = widened(ctx, o.pre);
  LinearOptions wide{widened(ctx, o.bias), o.activation, pre, widened(ctx, o.residual)};
  linear_wide<float>(ctx, wide_y, widened(ctx, x), widened_weight(ctx, weight), wide);
  narrow(ctx, y, wide_y), narrow(ctx, o.pre, pre);
}

void linear_input_grad(Ctx& ctx, Tensor dx, Tensor dy, Tensor weight, const LinearInputGradOptions& o) {
  auto scope = ctx.arena.scope("linear_input_grad");
  if (weight.dtype == DType::f64) return input_grad_wide<double>(ctx, dx, dy, weight, o);
  if (weight.dtype == DType::f32) return input_grad_wide<float>(ctx, dx, dy, weight, o);
  if (has_bf16_products()) {
    multiply_bf16(ctx, dx, dy, weight, Use::input_grad, {}, o.accumulate);
    if (!idle(ctx, dy) && o.activation != Activation::none) activation_backward(dx, dx, o.pre, o.activation);
    return;
  }
  Tensor wide_dx = widened(ctx, dx);
  LinearInputGradOptions wide{o.accumulate, o.activation, widened(ctx, o.pre)};
  input_grad_wide<float>(ctx, wide_dx, widened(ctx, dy), widened_weight(ctx, weight), wide);
  narrow(ctx, dx, wide_dx);
}

void linear_weight_grad(Ctx& ctx, Tensor dweight, Tensor dbias, Tensor dy, Tensor x) {
  auto scope = ctx.arena.scope("linear_weight_grad");
  int64_t m = dy.shape.last(), n = x.shape.last(), k = x.shape.rows();
  DType dtype = x.dtype == DType::bf16 && !has_bf16_products() ? DType::f32 : x.dtype;
  Tensor a = as_dtype(ctx, dy, dtype), b = as_dtype(ctx, x, dtype);
  dispatch(dtype, [&]<class T>() {
    constexpr bool narrow = std::is_same_v<T, bf16>;
    Tensor scratch = narrow ? Tensor{} : make_scratch<compute_t<T>>(ctx, m, n, k);
    if (idle(ctx, x)) return;
    compute_t<T>* c = data<compute_t<T>>(dweight);
    Stored<T> rows{data<T>(a), true}, columns{data<T>(b)};
    if constexpr (narrow)
      product_add(c, m, n, k, rows, columns);
    else
      product(data<T>(scratch), c, m, n, k, rows, columns, Start<T>{c});
  });
  if (!dbias || idle(ctx, x)) return;
  dispatch(dy.dtype, [&]<class T>() { add_column_sums(data<compute_t<T>>(dbias), data<T>(dy), k, m); });
}

}  // namespace viaduct::ops::cpu
