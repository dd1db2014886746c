// One (sample, head) at a time, one thread each. Keys and values are copied to where products like them, queries are
// taken in blocks whose scores stay in cache; nothing of size Tq x Tk is ever stored.
#include "core/ops/cpu/attention.hpp"

#include <omp.h>

#include <cmath>

#include "core/ops/cpu/dropout_mask.hpp"
#include "core/ops/cpu/softmax_rows.hpp"
#include "core/ops/cpu/tile_product.hpp"

namespace viaduct::ops::cpu {
namespace {

// Queries in a block: scores of the forward pass fit the first-level cache; the backward pass adds to dk and dv per
// block, so it takes as many as the second level holds.
constexpr int64_t kForwardQueries = 48, kBackwardQueries = 256;
constexpr int64_t kAlign = Arena::kAlignment;

// The sizes of one head, and those of its copies: rows of whole vectors, what is added is zero.
template <class C>
struct Sizes {
  Sizes(const AttentionArgs& a, int64_t most_queries)
      : queries(a.q.rows.shape[1]),
        keys(a.k.rows.shape[1]),
        dim(a.head_dim),
        block(std::min(queries,
                       align_up(ceil_div(queries, std::max<int64_t>(1, ceil_div(queries, most_queries))), kTileRows))),
        wide_keys(align_up(keys, kWidth<C>)),
        wide_dim(align_up(dim, kLanes<C>)) {}
  // Steps of the tiles of one product (see Upcoming).
  int64_t steps() const { return queries * wide_keys * dim / (kTileRows * kTileVectors * kLanes<C> * kTileUnroll); }
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

// One head of a projection of one sample: `dim` columns of its rows.
template <class T>
struct HeadRows {
  T* data;
  int64_t stride, rows, dim;
  HeadRows(const Heads& h, int64_t b, int64_t head, int64_t dim)
      : data(viaduct::data<T>(h.rows) + b * h.rows.shape[1] * h.rows.shape[2] + h.column + head * dim),
        stride(h.rows.shape[2]),
        rows(h.rows.shape[1]),
        dim(dim) {}
  T* row(int64_t i) const { return data + i * stride; }
  void ask(Upcoming& upcoming, bool write = false) const { upcoming.add(data, stride, rows, dim, write); }
};

// A matrix with a row stride: rows of a head where they are, or a copy of them.
template <class C>
struct Block {
  C* data;
  int64_t stride;
};
// Whether products can be written to the rows of a head directly.
template <class T, class C>
bool writable(const Sizes<C>& s) {
  return std::is_same_v<T, C> && s.dim == s.wide_dim;
}

// copy [count, wide] = rows first.. of a head.
template <class T, class C>
void copy_in(C* copy, int64_t wide, const HeadRows<T>& from, int64_t first, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const T* row = from.row(first + i);
#pragma omp simd
    for (int64_t d = 0; d < from.dim; ++d) copy[i * wide + d] = C(row[d]);
    for (int64_t d = from.dim; d < wide; ++d) copy[i * wide + d] = C(0);
  }
}
// The same as a left operand: where they are, if they can be read there.
template <class T, class C>
Left<C> rows_of(C* copy, int64_t wide, const HeadRows<T>& from, int64_t first, int64_t count) {
  if constexpr (std::is_same_v<T, C>) return {from.row(first), from.stride};
  copy_in(copy, wide, from, first, count);
  return {copy, wide};
}
// Where a product that belongs to rows first.. of a head is written, and how it gets there if that is a copy.
template <class T, class C>
Block<C> target(C* copy, const Sizes<C>& s, const HeadRows<T>& to, int64_t first) {
  if constexpr (std::is_same_v<T, C>)
    if (writable<T>(s)) return {to.row(first), to.stride};
  return {copy, s.wide_dim};
}
template <class T, class C>
void copy_out(const HeadRows<T>& to, int64_t first, int64_t count, const Sizes<C>& s, const C* copy) {
  if (writable<T>(s)) return;
  for (int64_t i = 0; i < count; ++i) {
    T* row = to.row(first + i);
#pragma omp simd
    for (int64_t d = 0; d < to.dim; ++d) row[d] = copy[i * s.wide_dim + d];
  }
}

// The first n of a vector's elements; the others are zero.
template <class C, class T>
Vector<C> load_vector(const T* from, int64_t n) {
  Vector<C> values{};
  if (std::is_same_v<T, C> && n >= kLanes<C>) return *reinterpret_cast<const Vector<C>*>(from);
  for (int64_t l = 0; l < std::min(n, kLanes<C>); ++l) values[l] = C(from[l]);
  return values;
}

// to [dim, wide] = factor * the transpose of a head, by square tiles.
template <class T, class C>
void load_transposed(C* to, int64_t wide, const HeadRows<T>& from, C factor) {
  constexpr int64_t L = kLanes<C>;
  for (int64_t i = 0; i < wide; i += L)
    for (int64_t d = 0; d < from.dim; d += L) {
      Vector<C> tile[L];
      const int64_t rows = std::min(L, from.rows - i), columns = std::min(L, from.dim - d);
      if (std::is_same_v<T, C> && rows == L && columns == L) {
#pragma GCC unroll 16
        for (int64_t r = 0; r < L; ++r) tile[r] = factor * *reinterpret_cast<const Vector<C>*>(from.row(i + r) + d);
        transpose_tile<C>(tile);
#pragma GCC unroll 16
        for (int64_t l = 0; l < L; ++l) *reinterpret_cast<Vector<C>*>(to + (d + l) * wide + i) = tile[l];
        continue;
      }
      for (int64_t r = 0; r < L; ++r)
        tile[r] = r < rows ? factor * load_vector<C>(from.row(i + r) + d, columns) : Vector<C>{};
      transpose_tile<C>(tile);
      for (int64_t l = 0; l < columns; ++l) *reinterpret_cast<Vector<C>*>(to + (d + l) * wide + i) = tile[l];
    }
}

// What scores begin with: minus infinity for masked keys of a sample and beyond the last.
template <class C>
void make_key_bias(C* bias, const Sizes<C>& s, const Tensor& mask, int64_t sample) {
  const int32_t* row = mask ? data<int32_t>(mask) + sample * s.keys : nullptr;
  for (int64_t j = 0; j < s.wide_keys; ++j) bias[j] = j < s.keys && (!row || row[j]) ? C(0) : C(-INFINITY);
}

struct HeadIndex {
  int64_t sample, head;
};

// Dropout of the probabilities: element (head, query, key) of a sample.
template <class C>
struct Dropout {
  float p;
  uint32_t op;
  uint64_t key;
  int64_t head, queries, keys;
  Dropout(const Ctx& ctx, const AttentionArgs& a, HeadIndex at)
      : p(ctx.training ? a.dropout : 0),
        op(a.op),
        key(p > 0 ? uint64_t(data<int64_t>(ctx.sample_keys)[at.sample]) : 0),
        head(at.head),
        queries(a.q.rows.shape[1]),
        keys(a.k.rows.shape[1]) {}
  explicit operator bool() const { return p > 0; }
  void make_mask(C* mask, int64_t query) const {
    dropout_mask(mask, key, op, (head * queries + query) * keys, keys, p);
  }
  void apply(C* row, C* mask, int64_t query) const {
    make_mask(mask, query);
#pragma omp simd
    for (int64_t j = 0; j < keys; ++j) row[j] *= mask[j];
  }
};

template <class C>
struct ForwardScratch {
  C *keys, *values, *bias, *q, *scores, *out, *mask, *largest, *sum;
  ForwardScratch(Carver<C>& carve, const Sizes<C>& s)
      : keys(carve.take(s.dim * s.wide_keys)),
        values(carve.take(s.keys * s.wide_dim)),
        bias(carve.take(s.wide_keys)),
        q(carve.take(s.block * s.wide_dim)),
        scores(carve.take(s.block * s.wide_keys)),
        out(carve.take(s.block * s.wide_dim)),
        mask(carve.take(s.wide_keys)),
        largest(carve.take(s.block)),
        sum(carve.take(s.block)) {}
};

template <class T, class C = compute_t<T>>
void forward_head(const Ctx& ctx, Tensor out, Tensor lse, const ForwardScratch<C>& w, const Sizes<C>& s,
                  const AttentionArgs& a, HeadIndex at, HeadIndex next) {
  auto rows = [&](const Heads& h, HeadIndex i) { return HeadRows<T>(h, i.sample, i.head, s.dim); };
  const HeadRows<T> q = rows(a.q, at), y = rows({out}, at);
  C* lse_row = lse ? data<C>(lse) + (at.sample * a.heads + at.head) * s.queries : nullptr;
  const Dropout<C> dropout(ctx, a, at);
  Upcoming upcoming;
  y.ask(upcoming, true);
  for (const Heads& h : {a.k, a.v, a.q}) rows(h, next).ask(upcoming);
  upcoming.spread(2 * s.steps());
  load_transposed(w.keys, s.wide_keys, rows(a.k, at), C(a.scale));
  copy_in(w.values, s.wide_dim, rows(a.v, at), 0, s.keys);
  make_key_bias(w.bias, s, a.key_mask, at.sample);
  for (int64_t first = 0; first < s.queries; first += s.block) {
    int64_t n = std::min(s.block, s.queries - first);
    const Left<C> left = rows_of(w.q, s.wide_dim, q, first, n);
    multiply_small<false, C>(w.scores, s.wide_keys, n, s.wide_keys, left, w.keys, s.wide_keys, s.dim, {w.bias},
                             upcoming);
    int64_t i = 0;
    for (; i + kTogether <= n; i += kTogether)
      exponentials<kTogether>(w.scores + i * s.wide_keys, s.wide_keys, w.largest + i, w.sum + i);
    for (; i < n; ++i) exponentials<1>(w.scores + i * s.wide_keys, s.wide_keys, w.largest + i, w.sum + i);
    for (i = 0; i < n; ++i) {
      if (lse_row) lse_row[first + i] = w.largest[i] + std::log(w.sum[i]);
      if (dropout) dropout.apply(w.scores + i * s.wide_keys, w.mask, first + i);
    }
    Block<C> to = target<T>(w.out, s, y, first);
    multiply_small<false, C>(to.data, to.stride, n, s.wide_dim, {w.scores, s.wide_keys}, w.values, s.wide_dim, s.keys,
                             {}, upcoming);
    for (i = 0; i < n; ++i) {
      const C factor = C(1) / w.sum[i];
#pragma omp simd
      for (int64_t d = 0; d < s.dim; ++d) to.data[i * to.stride + d] *= factor;
    }
    copy_out(y, first, n, s, w.out);
  }
}

template <class C>
struct BackwardScratch {
  C *keys, *keys_t, *values_t, *bias, *q, *dout, *p, *dp, *dq, *dk, *dv, *dot, *mask;
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
        dot(carve.take(s.block)),
        mask(carve.take(kTogether * s.wide_keys)) {}
};

template <class T, class C = compute_t<T>>
void backward_head(const Ctx& ctx, const AttentionGrads& g, Tensor dout, Tensor out, Tensor lse,
                   const BackwardScratch<C>& w, const Sizes<C>& s, const AttentionArgs& a, HeadIndex at,
                   HeadIndex next) {
  auto rows = [&](const Heads& h, HeadIndex i) { return HeadRows<T>(h, i.sample, i.head, s.dim); };
  const HeadRows<T> q = rows(a.q, at), k = rows(a.k, at), v = rows(a.v, at), y = rows({out}, at), dy = rows({dout}, at);
  const HeadRows<T> dq = rows(g.dq, at), dk = rows(g.dk, at), dv = rows(g.dv, at);
  const C* lse_row = data<C>(lse) + (at.sample * a.heads + at.head) * s.queries;
  const Dropout<C> dropout(ctx, a, at);
  const Block<C> dk_to = target<T>(w.dk, s, dk, 0), dv_to = target<T>(w.dv, s, dv, 0);
  Upcoming upcoming;
  for (const HeadRows<T>& written : {dq, dv, dk}) written.ask(upcoming, true);
  for (const Heads& h : {a.k, a.v, a.q, Heads{dout}, Heads{out}}) rows(h, next).ask(upcoming);
  upcoming.spread(5 * s.steps());
  copy_in(w.keys, s.wide_dim, k, 0, s.keys);
  load_transposed(w.keys_t, s.wide_keys, k, C(a.scale));
  load_transposed(w.values_t, s.wide_keys, v, C(1));
  make_key_bias(w.bias, s, a.key_mask, at.sample);
  for (int64_t first = 0; first < s.queries; first += s.block) {
    int64_t n = std::min(s.block, s.queries - first);
    copy_in(w.q, s.wide_dim, q, first, n);
    copy_in(w.dout, s.wide_dim, dy, first, n);
    multiply_small<false, C>(w.p, s.wide_keys, n, s.wide_keys, {w.q, s.wide_dim}, w.keys_t, s.wide_keys, s.dim,
                             {w.bias}, upcoming);
    multiply_small<false, C>(w.dp, s.wide_keys, n, s.wide_keys, {w.dout, s.wide_dim}, w.values_t, s.wide_keys, s.dim,
                             {}, upcoming);
    for (int64_t i = 0; i < n; ++i) {
      C dot = 0;
      const T* y_row = y.row(first + i);
#pragma omp simd reduction(+ : dot)
      for (int64_t d = 0; d < s.dim; ++d) dot += w.dout[i * s.wide_dim + d] * C(y_row[d]);
      w.dot[i] = dot;
    }
    auto some = [&]<int together>(int64_t i) {
      if (dropout)
        for (int r = 0; r < together; ++r) dropout.make_mask(w.mask + r * s.wide_keys, first + i + r);
      differentiate<together>(w.p + i * s.wide_keys, w.dp + i * s.wide_keys, s.wide_keys, lse_row + first + i,
                              w.dot + i, C(a.scale), dropout ? w.mask : nullptr);
    };
    int64_t i = 0;
    for (; i + kTogether <= n; i += kTogether) some.template operator()<kTogether>(i);
    for (; i < n; ++i) some.template operator()<1>(i);
    Block<C> dq_to = target<T>(w.dq, s, dq, first);
    multiply_small<false, C>(dq_to.data, dq_to.stride, n, s.wide_dim, {w.dp, s.wide_keys}, w.keys, s.wide_dim, s.keys,
                             {}, upcoming);
    copy_out(dq, first, n, s, w.dq);
    const Onto<C> onto{nullptr, first > 0};
    multiply_small<true, C>(dv_to.data, dv_to.stride, s.keys, s.wide_dim, {w.p, s.wide_keys}, w.dout, s.wide_dim, n,
                            onto, upcoming);
    multiply_small<true, C>(dk_to.data, dk_to.stride, s.keys, s.wide_dim, {w.dp, s.wide_keys}, w.q, s.wide_dim, n, onto,
                            upcoming);
  }
  copy_out(dk, 0, s.keys, s, w.dk);
  copy_out(dv, 0, s.keys, s, w.dv);
}

// [threads, elements that one head needs at most]. Evenly cut blocks may be smaller for more queries; memory is for the
// largest, so that a plan for long texts holds short ones.
template <template <class> class Scratch>
Shape scratch_shape(const AttentionArgs& a, int64_t queries) {
  auto count = [&]<class C>() {
    Carver<C> carve;
    Sizes<C> sizes(a, queries);
    sizes.block = std::min(sizes.queries, align_up(queries, kTileRows));
    Scratch<C>(carve, sizes);
    return carve.used;
  };
  return {omp_get_max_threads(),
          a.q.rows.dtype == DType::f64 ? count.template operator()<double>() : count.template operator()<float>()};
}

// Calls f(the thread's scratch, sizes, head, the head after it) for all heads.
template <class C, template <class> class Scratch, class F>
void for_heads(const AttentionArgs& a, int64_t queries, Tensor scratch, F f) {
  const int64_t heads = a.q.rows.shape[0] * a.heads;
  const Sizes<C> sizes(a, queries);
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < heads; ++i) {
    Carver<C> carve{data<C>(scratch) + omp_get_thread_num() * scratch.shape[1]};
    auto index = [&](int64_t n) { return HeadIndex{n / a.heads, n % a.heads}; };
    f(Scratch<C>(carve, sizes), sizes, index(i), index(std::min(i + 1, heads - 1)));
  }
}

}  // namespace

Shape attention_scratch(const AttentionArgs& a) { return scratch_shape<ForwardScratch>(a, kForwardQueries); }
Shape attention_backward_scratch(const AttentionArgs& a) { return scratch_shape<BackwardScratch>(a, kBackwardQueries); }

void attention(const Ctx& ctx, Tensor out, Tensor lse, Tensor scratch, const AttentionArgs& a) {
  dispatch(out.dtype, [&]<class T>() {
    for_heads<compute_t<T>, ForwardScratch>(a, kForwardQueries, scratch,
                                            [&](const auto& w, const auto& sizes, HeadIndex at, HeadIndex next) {
                                              forward_head<T>(ctx, out, lse, w, sizes, a, at, next);
                                            });
  });
}

void attention_backward(const Ctx& ctx, const AttentionGrads& grads, Tensor dout, Tensor out, Tensor lse,
                        Tensor scratch, const AttentionArgs& a) {
  dispatch(out.dtype, [&]<class T>() {
    for_heads<compute_t<T>, BackwardScratch>(a, kBackwardQueries, scratch,
                                             [&](const auto& w, const auto& sizes, HeadIndex at, HeadIndex next) {
                                               backward_head<T>(ctx, grads, dout, out, lse, w, sizes, a, at, next);
                                             });
  });
}

}  // namespace viaduct::ops::cpu
