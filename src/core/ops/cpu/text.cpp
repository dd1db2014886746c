#include "core/ops/cpu/text.hpp"

#include "core/ops/cpu/parallel.hpp"

namespace viaduct::ops::cpu {
namespace {

// f(t, id, position) for the tokens of one text, in order.
template <class F>
void for_tokens(const int32_t* ids, int64_t tokens, int32_t pad, F f) {
  int32_t position = pad;
  for (int64_t t = 0; t < tokens; ++t) f(t, ids[t], ids[t] == pad ? pad : ++position);
}

// Ids come from files: an id or a position beyond its table ends in a message, before anything is touched. An absent
// table holds everything.
void check_ids(const Tensor& ids, const TextTables& tables, int32_t pad) {
  int64_t words = tables.words ? tables.words.shape[0] : INT32_MAX;
  int64_t positions = tables.positions ? tables.positions.shape[0] : INT32_MAX;
  for (int64_t b = 0; b < ids.shape[0]; ++b)
    for_tokens(data<int32_t>(ids) + b * ids.shape[1], ids.shape[1], pad, [=](int64_t t, int32_t id, int32_t position) {
      if (id < 0 || id >= words)
        fail(Exit::crash,
             fmt::format("embed_text: token {} of text {} should be in [0, {}), found {}", t, b, words, id));
      if (position >= positions)
        fail(Exit::crash, fmt::format("embed_text: token {} of text {} stands at position {}, the table has {} rows", t,
                                      b, position, positions));
    });
}

template <class T, class C>
void add_row(C* to, const T* from, Range columns) {
#pragma omp simd
  for (int64_t i = columns.begin; i < columns.end; ++i) to[i] += C(from[i]);
}

}  // namespace

void embed_text(Tensor y, Tensor ids, const TextTables& tables, int32_t pad) {
  check_ids(ids, tables, pad);
  int64_t tokens = y.shape[1], width = y.shape[2];
  dispatch(y.dtype, [&]<class T>() {
    using C = compute_t<T>;
    const T *words = data<T>(tables.words), *positions = data<T>(tables.positions), *type = data<T>(tables.types);
    T* to = data<T>(y);
    const int32_t* id_of = data<int32_t>(ids);
    parallel_rows(y.shape[0], tokens * width, [=](int64_t b) {
      for_tokens(id_of + b * tokens, tokens, pad, [=](int64_t t, int32_t id, int32_t position) {
        const T *word = words + id * width, *at = positions + position * width;
        T* row = to + (b * tokens + t) * width;
#pragma omp simd
        for (int64_t i = 0; i < width; ++i) row[i] = (C(word[i]) + C(type[i])) + C(at[i]);
      });
    });
  });
}

void embed_text_backward(const TextTables& grads, Tensor dy, Tensor ids, int32_t pad) {
  constexpr int64_t kColumns = 128;
  check_ids(ids, grads, pad);
  int64_t tokens = dy.shape[1], width = dy.shape[2];
  dispatch(dy.dtype, [&]<class T>() {
    using C = compute_t<T>;
    auto table = [](const Tensor& t) { return t ? data<C>(t) : nullptr; };
    C *words = table(grads.words), *positions = table(grads.positions), *type = table(grads.types);
    const T* from = data<T>(dy);
    const int32_t* id_of = data<int32_t>(ids);
    // A thread owns columns and adds the tokens in order.
    parallel_blocks(width, dy.numel() > kBlock ? kColumns : width, [=, texts = dy.shape[0]](Range columns) {
      for (int64_t b = 0; b < texts; ++b)
        for_tokens(id_of + b * tokens, tokens, pad, [=](int64_t t, int32_t id, int32_t position) {
          const T* row = from + (b * tokens + t) * width;
          if (type) add_row(type, row, columns);
          if (words && id != pad) add_row(words + id * width, row, columns);
          if (positions && position != pad) add_row(positions + position * width, row, columns);
        });
    });
  });
}

}  // namespace viaduct::ops::cpu
