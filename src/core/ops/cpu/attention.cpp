// One (sample, head) at a time, one thread each. Keys and values are copied to where products like them, queries are
// taken in blocks whose scores stay in cache; nothing of size Tq x Tk is ever stored.
#include "core/ops/cpu/attention.hpp"

#include <omp.h>

#include <cmath>

#include "core/ops/cpu/dropout_mask.hpp"
#include "core/ops/cpu/tile_product.hpp"
#include "core/ops/cpu/vector_math.hpp"

namespace viaduct::ops::cpu {
namespace {

constexpr int64_t kQueries = 48;  // a block: 8 tiles high, its scores over 200 keys fill half a second-level cache line
constexpr int64_t kAlign = Arena::kAlignment;

// The sizes of one head, and those of its copies: rows of whole vectors, what is added is zero.
template <class C>
struct Sizes {
  explicit Sizes(const AttentionArgs& a)
      : queries(a.q.rows.shape[1]),
        keys(a.k.rows.shape[1]),
        dim(a.head_dim),
        block(std::min(kQueries, queries)),
        wide_keys(align_up(keys, kLanes<C>)),
        wide_dim(align_up(dim, kLanes<C>)) {}
  int64_t queries, keys, dim, block, wide_keys, wide_dim;
};

// Hands out consecutive pieces of a thread's scratch; with no memory it only counts.
template <class C>
struct Carver {
  C* at = nullptr;
  int64_t used = 0;
  C* take(int64_t n) {
    C* piece = at ? at + used : nullptr;
    used += align_up(n, kAlign / int64_t(sizeof(C)));
    return piece;
  }
};

// One head of a projection of one sample: dim columns of `rows` rows.
template <class T>
struct HeadRows {
  T* data;
  int64_t stride;
  HeadRows(const Heads& h, int64_t b, int64_t head, int64_t dim)
      : data(viaduct::data<T>(h.rows) + b * h.rows.shape[1] * h.rows.shape[2] + h.column + head * dim),
        stride(h.rows.shape[2]) {}
  T* row(int64_t i) const { return data + i * stride; }
};

// to [count, wide] = rows first.. of a head.
template <class T, class C>
void load(C* to, int64_t wide, HeadRows<T> from, int64_t first, int64_t count, int64_t dim) {
  for (int64_t i = 0; i < count; ++i) {
    const T* row = from.row(first + i);
#pragma omp simd
    for (int64_t d = 0; d < dim; ++d) to[i * wide + d] = C(row[d]);
    for (int64_t d = dim; d < wide; ++d) to[i * wide + d] = C(0);
  }
}

// to [dim, wide] = factor * the transpose of `count` rows of a head.
template <class T, class C>
void load_transposed(C* to, int64_t wide, HeadRows<T> from, int64_t count, int64_t dim, C factor) {
  for (int64_t d = 0; d < dim; ++d) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) to[d * wide + i] = factor * C(from.data[i * from.stride + d]);
    for (int64_t i = count; i < wide; ++i) to[d * wide + i] = C(0);
  }
}

template <class T, class C>
void store(HeadRows<T> to, int64_t first, int64_t count, const C* from, int64_t wide, int64_t dim, C factor) {
  for (int64_t i = 0; i < count; ++i) {
    T* row = to.row(first + i);
#pragma omp simd
    for (int64_t d = 0; d < dim; ++d) row[d] = T(from[i * wide + d] * factor);
  }
}

// What is added to the scores of one sample: minus infinity for masked keys and for the padding.
template <class C>
void load_key_bias(C* bias, const Sizes<C>& s, const Tensor& mask, int64_t b) {
  const int32_t* row = mask ? data<int32_t>(mask) + b * s.keys : nullptr;
  for (int64_t j = 0; j < s.wide_keys; ++j) bias[j] = j < s.keys && (!row || row[j]) ? C(0) : C(-INFINITY);
}

// Dropout of the probabilities: element (head, query, key) of a sample.
template <class C>
struct Dropout {
  float p;
  uint32_t op;
  uint64_t key;
  int64_t heads, head, queries, keys;
  Dropout(const Ctx& ctx, const AttentionArgs& a, int64_t b, int64_t head)
      : p(ctx.training ? a.dropout : 0),
        op(a.op),
        key(p > 0 ? uint64_t(data<int64_t>(ctx.sample_keys)[b]) : 0),
        heads(a.heads),
        head(head),
        queries(a.q.rows.shape[1]),
        keys(a.k.rows.shape[1]) {}
  explicit operator bool() const { return p > 0; }
  void mask(C* row, int64_t query) const { dropout_mask(row, key, op, (head * queries + query) * keys, keys, p); }
};

// Turns a row of scores into exp(score - max) and gives the log of their sum; zeros and -infinity where no key is left.
template <class C>
C exponentiate(C* scores, const C* bias, int64_t n, C& sum_out) {
  C largest = -INFINITY, sum = 0;
#pragma omp simd reduction(max : largest)
  for (int64_t j = 0; j < n; ++j) {
    scores[j] += bias[j];
    largest = scores[j] > largest ? scores[j] : largest;
  }
  if (largest == C(-INFINITY)) {
    std::fill(scores, scores + n, C(0));
    sum_out = 1;
    return largest;
  }
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; ++j) {
    scores[j] = exp(scores[j] - largest);
    sum += scores[j];
  }
  sum_out = sum;
  return largest + std::log(sum);
}

template <class C>
struct ForwardScratch {
  C *keys, *values, *bias, *q, *scores, *out, *mask;
  ForwardScratch(Carver<C>& carve, const Sizes<C>& s)
      : keys(carve.take(s.dim * s.wide_keys)),
        values(carve.take(s.keys * s.wide_dim)),
        bias(carve.take(s.wide_keys)),
        q(carve.take(s.block * s.wide_dim)),
        scores(carve.take(s.block * s.wide_keys)),
        out(carve.take(s.block * s.wide_dim)),
        mask(carve.take(s.wide_keys)) {}
};

template <class T, class C = compute_t<T>>
void forward_head(const Ctx& ctx, Tensor out, Tensor lse, const ForwardScratch<C>& w, const AttentionArgs& a, int64_t b,
                  int64_t h) {
  const Sizes<C> s(a);
  HeadRows<T> q(a.q, b, h, s.dim), k(a.k, b, h, s.dim), v(a.v, b, h, s.dim), y({out, 0}, b, h, s.dim);
  C* lse_row = lse ? data<C>(lse) + (b * a.heads + h) * s.queries : nullptr;
  Dropout<C> dropout(ctx, a, b, h);
  load_transposed(w.keys, s.wide_keys, k, s.keys, s.dim, C(a.scale));
  load(w.values, s.wide_dim, v, 0, s.keys, s.dim);
  load_key_bias(w.bias, s, a.key_mask, b);
  for (int64_t first = 0; first < s.queries; first += s.block) {
    int64_t n = std::min(s.block, s.queries - first);
    load(w.q, s.wide_dim, q, first, n, s.dim);
    multiply_small(w.scores, s.wide_keys, n, s.wide_keys, {w.q, s.wide_dim}, w.keys, s.wide_keys, s.dim);
    for (int64_t i = 0; i < n; ++i) {
      C *row = w.scores + i * s.wide_keys, sum;
      C log_sum = exponentiate(row, w.bias, s.wide_keys, sum);
      if (lse_row) lse_row[first + i] = log_sum;
      if (dropout) {
        dropout.mask(w.mask, first + i);
#pragma omp simd
        for (int64_t j = 0; j < s.keys; ++j) row[j] *= w.mask[j];
      }
      w.q[i] = C(1) / sum;  // the queries of the block have been used
    }
    multiply_small(w.out, s.wide_dim, n, s.wide_dim, {w.scores, s.wide_keys}, w.values, s.wide_dim, s.keys);
    for (int64_t i = 0; i < n; ++i) store(y, first + i, 1, w.out + i * s.wide_dim, s.wide_dim, s.dim, w.q[i]);
  }
}

template <class C>
struct BackwardScratch {
  C *keys, *keys_t, *values_t, *bias, *q, *dout, *p, *dp, *dq, *dk, *dv, *mask;
  BackwardScratch(Carver<C>& carve, const Sizes<C>& s)
      : keys(carve.take(s.keys * s.wide_dim)),
        keys_t(carve.take(s.dim * s.wide_keys)),
        values_t(carve.take(s.dim * s.wide_keys)),
        bias(carve.take(s.wide_keys)),
        q(carve.take(s.block * s.wide_dim)),
        dout(carve.take(s.block * s.wide_dim)),
        p(carve.take(s.block * s.wide_keys)),
        dp(carve.take(s.block * s.wide_keys)),
        dq(carve.take(s.block * s.wide_dim)),
        dk(carve.take(s.keys * s.wide_dim)),
        dv(carve.take(s.keys * s.wide_dim)),
        mask(carve.take(s.wide_keys)) {}
};

// From a row of scores and of d loss / d probability: the probabilities that were used, and d loss / d score.
//   p = exp(score - lse);  ds = p (mask dp - dout . out);  p = p mask
template <class C>
void differentiate(C* p, C* dp, const C* bias, const C* mask, C log_sum, C dot, int64_t keys, int64_t n) {
  C shift = log_sum == C(-INFINITY) ? C(INFINITY) : log_sum;  // no key was left: no probability either
#pragma omp simd
  for (int64_t j = 0; j < n; ++j) p[j] = exp(p[j] + bias[j] - shift);
  if (!mask) {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) dp[j] = p[j] * (dp[j] - dot);
    return;
  }
#pragma omp simd
  for (int64_t j = 0; j < keys; ++j) {
    dp[j] = p[j] * (dp[j] * mask[j] - dot);
    p[j] *= mask[j];
  }
  for (int64_t j = keys; j < n; ++j) dp[j] = C(0);
}

template <class T, class C = compute_t<T>>
void backward_head(const Ctx& ctx, const AttentionGrads& g, Tensor dout, Tensor out, Tensor lse,
                   const BackwardScratch<C>& w, const AttentionArgs& a, int64_t b, int64_t h) {
  const Sizes<C> s(a);
  HeadRows<T> q(a.q, b, h, s.dim), k(a.k, b, h, s.dim), v(a.v, b, h, s.dim);
  HeadRows<T> y({out, 0}, b, h, s.dim), dy({dout, 0}, b, h, s.dim), dq(g.dq, b, h, s.dim);
  const C* lse_row = data<C>(lse) + (b * a.heads + h) * s.queries;
  Dropout<C> dropout(ctx, a, b, h);
  load(w.keys, s.wide_dim, k, 0, s.keys, s.dim);
  load_transposed(w.keys_t, s.wide_keys, k, s.keys, s.dim, C(a.scale));
  load_transposed(w.values_t, s.wide_keys, v, s.keys, s.dim, C(1));
  load_key_bias(w.bias, s, a.key_mask, b);
  for (int64_t first = 0; first < s.queries; first += s.block) {
    int64_t n = std::min(s.block, s.queries - first);
    load(w.q, s.wide_dim, q, first, n, s.dim);
    load(w.dout, s.wide_dim, dy, first, n, s.dim);
    multiply_small(w.p, s.wide_keys, n, s.wide_keys, {w.q, s.wide_dim}, w.keys_t, s.wide_keys, s.dim);
    multiply_small(w.dp, s.wide_keys, n, s.wide_keys, {w.dout, s.wide_dim}, w.values_t, s.wide_keys, s.dim);
    for (int64_t i = 0; i < n; ++i) {
      C dot = 0;
      const T* y_row = y.row(first + i);
#pragma omp simd reduction(+ : dot)
      for (int64_t d = 0; d < s.dim; ++d) dot += w.dout[i * s.wide_dim + d] * C(y_row[d]);
      if (dropout) dropout.mask(w.mask, first + i);
      differentiate(w.p + i * s.wide_keys, w.dp + i * s.wide_keys, w.bias, dropout ? w.mask : nullptr,
                    lse_row[first + i], dot, s.keys, s.wide_keys);
    }
    multiply_small(w.dq, s.wide_dim, n, s.wide_dim, {w.dp, s.wide_keys}, w.keys, s.wide_dim, s.keys);
    store(dq, first, n, w.dq, s.wide_dim, s.dim, C(a.scale));
    bool add = first > 0;
    multiply_small(w.dv, s.wide_dim, s.keys, s.wide_dim, {w.p, 1, s.wide_keys}, w.dout, s.wide_dim, n, add);
    multiply_small(w.dk, s.wide_dim, s.keys, s.wide_dim, {w.dp, 1, s.wide_keys}, w.q, s.wide_dim, n, add);
  }
  store(HeadRows<T>(g.dk, b, h, s.dim), 0, s.keys, w.dk, s.wide_dim, s.dim, C(a.scale));
  store(HeadRows<T>(g.dv, b, h, s.dim), 0, s.keys, w.dv, s.wide_dim, s.dim, C(1));
}

// [threads, elements that one head needs].
template <template <class> class Scratch>
Shape scratch_shape(const AttentionArgs& a) {
  auto count = [&]<class C>() {
    Carver<C> carve;
    Scratch<C>(carve, Sizes<C>(a));
    return carve.used;
  };
  return {omp_get_max_threads(),
          a.q.rows.dtype == DType::f64 ? count.template operator()<double>() : count.template operator()<float>()};
}

// Calls f(sample, head, the thread's scratch) for all heads.
template <class C, template <class> class Scratch, class F>
void for_heads(const AttentionArgs& a, Tensor scratch, F f) {
  int64_t batch = a.q.rows.shape[0];
  const Sizes<C> sizes(a);
#pragma omp parallel for schedule(dynamic) collapse(2)
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t h = 0; h < a.heads; ++h) {
      Carver<C> carve{data<C>(scratch) + omp_get_thread_num() * scratch.shape[1]};
      f(b, h, Scratch<C>(carve, sizes));
    }
}

}  // namespace

Shape attention_scratch(const AttentionArgs& a) { return scratch_shape<ForwardScratch>(a); }
Shape attention_backward_scratch(const AttentionArgs& a) { return scratch_shape<BackwardScratch>(a); }

void attention(const Ctx& ctx, Tensor out, Tensor lse, Tensor scratch, const AttentionArgs& a) {
  dispatch(out.dtype, [&]<class T>() {
    using C = compute_t<T>;
    for_heads<C, ForwardScratch>(a, scratch, [&](int64_t b, int64_t h, const ForwardScratch<C>& w) {
      forward_head<T>(ctx, out, lse, w, a, b, h);
    });
  });
}

void attention_backward(const Ctx& ctx, const AttentionGrads& grads, Tensor dout, Tensor out, Tensor lse,
                        Tensor scratch, const AttentionArgs& a) {
  dispatch(out.dtype, [&]<class T>() {
    using C = compute_t<T>;
    for_heads<C, BackwardScratch>(a, scratch, [&](int64_t b, int64_t h, const BackwardScratch<C>& w) {
      backward_head<T>(ctx, grads, dout, out, lse, w, a, b, h);
    });
  });
}

}  // namespace viaduct::ops::cpu
