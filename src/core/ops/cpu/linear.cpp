#include "core/ops/cpu/linear.hpp"

#include "core/ops/cpu/activation_math.hpp"
#include "core/ops/cpu/elementwise.hpp"
#include "core/ops/cpu/onednn.hpp"
#include "core/ops/cpu/packed_cache.hpp"
#include "core/ops/cpu/parallel.hpp"
#include "core/ops/operand_check.hpp"

namespace viaduct::ops::cpu {
namespace {

using Use = PackedWeights::Impl::Use;

// fp64 serves gradient checks: plain sums.
void product(double* c, int64_t m, int64_t n, int64_t k, Stored<double> a, Stored<double> b, bool accumulate) {
  int64_t a_row = a.transposed ? 1 : k, a_step = a.transposed ? m : 1;
  int64_t b_column = b.transposed ? k : 1, b_step = b.transposed ? 1 : n;
  parallel_rows(m, n * k, [=](int64_t i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = accumulate ? c[i * n + j] : 0;
      for (int64_t l = 0; l < k; ++l) sum += a.data[i * a_row + l * a_step] * b.data[j * b_column + l * b_step];
      c[i * n + j] = sum;
    }
  });
}

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
Tensor widened(Ctx& ctx, Tensor weight) {
  Tensor wide{nullptr, weight.shape, DType::f32, weight.device};
  const void* data = ctx.packed.impl().get(weight, Use::forward, wide.bytes(), [&](void* to) {
    wide.data = to;
    copy(wide, weight);
  });
  wide.data = const_cast<void*>(data);
  return wide;
}

// What a product left: where its values are, and what it did not do yet.
struct Raw {
  Tensor values;
  bool bias_missing, sum_missing;
};

Raw multiply_bf16(Ctx& ctx, Tensor c, Tensor a, Tensor weight, Use use, Tensor bias, bool accumulate) {
  int64_t m = a.shape.rows(), n = c.shape.last(), k = a.shape.last();
  Tensor narrow = as_dtype(ctx, a, DType::bf16);
  const void* packed = ctx.packed.impl().get(weight, use, packed_bytes(k, n), [&](void* to) {
    pack(to, k, n, {data<bf16>(weight), use == Use::forward});
  });
  if (!idle(ctx, a)) {
    auto run = [&]<class T>() {
      const bf16* row = bias ? data<bf16>(bias) : nullptr;
      product_packed(data<T>(c), m, n, k, data<bf16>(narrow), packed, row, accumulate);
    };
    c.dtype == DType::bf16 ? run.operator()<bf16>() : run.operator()<float>();
  }
  return {c, false, false};
}

// c = a weight^T (forward) or a weight (input_grad), or c += that; as far as the library takes it.
Raw multiply(Ctx& ctx, Tensor c, Tensor a, Tensor weight, Use use, Tensor bias, bool accumulate) {
  if (weight.dtype == DType::bf16 && has_bf16_products())
    return multiply_bf16(ctx, c, a, weight, use, bias, accumulate);
  bool widen = weight.dtype == DType::bf16;
  if (widen) a = as_dtype(ctx, a, DType::f32), weight = widened(ctx, weight);
  Raw raw{c, true, false};
  if (c.dtype != weight.dtype) raw = {ctx.arena.temp(c.shape, weight.dtype), true, accumulate}, accumulate = false;
  if (!idle(ctx, a)) {
    auto run = [&]<class T>() {
      Stored<T> b{data<T>(weight), use == Use::forward};
      product(data<T>(raw.values), a.shape.rows(), c.shape.last(), a.shape.last(), {data<T>(a)}, b, accumulate);
    };
    weight.dtype == DType::f64 ? run.operator()<double>() : run.operator()<float>();
  }
  return raw;
}

// Calls f with the types of a raw product and of its destination.
template <class F>
void with_types(DType raw, DType destination, F&& f) {
  dispatch(raw, [&]<class In>() {
    if (raw == destination) return f.template operator()<In, In>();
    expect(raw == DType::f32 && destination == DType::bf16, "only fp32 products are rounded afterwards");
    f.template operator()<float, bf16>();
  });
}

// One row of y = activation(in + bias), saving in + bias where `pre` is, or of y += in + bias. `in` may be y or pre.
template <Activation A, class In, class Out, class C = compute_t<In>>
void finish_row(Out* y, Out* pre, const In* in, const C* bias, bool sum, int64_t n) {
  if (sum) {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) y[j] = C(y[j]) + C(in[j]) + bias[j];
  } else if (pre) {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) {
      C v = C(in[j]) + bias[j];
      pre[j] = v, y[j] = activate<A>(v);
    }
  } else {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) y[j] = activate<A>(C(in[j]) + bias[j]);
  }
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

// y = residual + bias, to which the product is added.
void begin_sum(Tensor y, Tensor residual, Tensor bias) {
  if (!bias && y.data == residual.data) return;
  int64_t n = y.shape.last();
  dispatch(y.dtype, [&]<class T>() {
    using C = compute_t<T>;
    T* to = data<T>(y);
    const T *from = data<T>(residual), *row = bias ? data<T>(bias) : nullptr;
    parallel_rows(y.shape.rows(), n, [=](int64_t r) {
      if (!row) return void(std::copy(from + r * n, from + (r + 1) * n, to + r * n));
#pragma omp simd
      for (int64_t j = 0; j < n; ++j) to[r * n + j] = T(C(from[r * n + j]) + C(row[j]));
    });
  });
}

}  // namespace

void linear(Ctx& ctx, Tensor y, Tensor x, Tensor weight, const LinearOptions& o) {
  auto scope = ctx.arena.scope("linear");
  int64_t n = weight.shape[0];
  bool begin_with_bias = o.residual && y.dtype != DType::bf16;  // in bf16 it would be one rounding more
  if (o.residual && !idle(ctx, x)) begin_sum(y, o.residual, begin_with_bias ? o.bias : Tensor{});
  Tensor product_bias = begin_with_bias ? Tensor{} : o.bias;
  Raw raw = multiply(ctx, o.pre ? o.pre : y, x, weight, Use::forward, product_bias, bool(o.residual));
  bool in_place = raw.values.data == y.data && y.dtype == raw.values.dtype;
  bool add_bias = product_bias && raw.bias_missing;
  Tensor bias = ctx.arena.temp({n}, stat_dtype(weight.dtype));
  if (idle(ctx, x) || (in_place && !add_bias && o.activation == Activation::none)) return;
  add_bias ? copy(bias, o.bias) : fill(bias, 0);
  with_types(raw.values.dtype, y.dtype, [&]<class In, class Out>() {
    with_activation(o.activation, [&]<Activation A>() {
      Out *to = data<Out>(y), *pre = o.pre ? data<Out>(o.pre) : nullptr;
      const In* in = data<In>(raw.values);
      const compute_t<In>* row = data<compute_t<In>>(bias);
      parallel_rows(x.shape.rows(), n, [=, sum = raw.sum_missing](int64_t r) {
        finish_row<A>(to + r * n, pre ? pre + r * n : nullptr, in + r * n, row, sum, n);
      });
    });
  });
}

void linear_input_grad(Ctx& ctx, Tensor dx, Tensor dy, Tensor weight, const LinearInputGradOptions& o) {
  auto scope = ctx.arena.scope("linear_input_grad");
  Raw raw = multiply(ctx, dx, dy, weight, Use::input_grad, {}, o.accumulate);
  if (idle(ctx, dy)) return;
  if (o.activation != Activation::none && raw.values.dtype == dx.dtype)
    return activation_backward(dx, raw.values, o.pre, o.activation);
  if (raw.values.dtype == dx.dtype) return;
  with_activation(o.activation, [&]<Activation A>() {
    bf16* to = data<bf16>(dx);
    const bf16* pre = o.pre ? data<bf16>(o.pre) : nullptr;
    const float* in = data<float>(raw.values);
    parallel_blocks(dx.numel(), kBlock, [=, sum = raw.sum_missing](Range r) {
#pragma omp simd
      for (int64_t i = r.begin; i < r.end; ++i) {
        float v = in[i];
        if constexpr (A != Activation::none) v *= activate_slope<A>(float(pre[i]));
        to[i] = sum ? float(to[i]) + v : v;
      }
    });
  });
}

void linear_weight_grad(Ctx& ctx, Tensor dweight, Tensor dbias, Tensor dy, Tensor x) {
  auto scope = ctx.arena.scope("linear_weight_grad");
  int64_t m = dy.shape.last(), n = x.shape.last(), k = x.shape.rows();
  DType dtype = x.dtype == DType::bf16 && !has_bf16_products() ? DType::f32 : x.dtype;
  Tensor a = as_dtype(ctx, dy, dtype), b = as_dtype(ctx, x, dtype);
  if (idle(ctx, x)) return;
  dispatch(dtype, [&]<class T>() {
    Stored<T> rows{data<T>(a), true}, columns{data<T>(b)};
    if constexpr (std::is_same_v<T, bf16>)
      product_add(data<float>(dweight), m, n, k, rows, columns);
    else
      product(data<T>(dweight), m, n, k, rows, columns, true);
  });
  if (!dbias) return;
  dispatch(dy.dtype, [&]<class T>() { add_column_sums(data<compute_t<T>>(dbias), data<T>(dy), k, m); });
}

}  // namespace viaduct::ops::cpu
