#include "core/ops/cuda/text.hpp"

#include "core/ops/cuda/rows_by_index.cuh"

namespace viaduct::ops::cuda {
namespace {

constexpr int64_t kSlices = 128;  // of the tokens, in the sum for the gradient of types

// How many of ids[begin, begin + 32) up to this lane's are no padding; by a warp.
struct Seen {
  int up_to_here, in_all;
};
__device__ __forceinline__ Seen count_tokens(const int32_t* ids, int64_t begin, int64_t tokens, int32_t pad) {
  unsigned real = __ballot_sync(kAllLanes, begin + lane() < tokens && ids[begin + lane()] != pad);
  return {__popc(real & (kAllLanes >> (kWarp - 1 - lane()))), __popc(real)};
}

// A token by a warp, which counts those before it.
template <int N, class T>
__global__ void __launch_bounds__(kRowThreads, 4)
    embed_text_kernel(T* y, const int32_t* ids, const T* words, const T* positions, const T* type, int64_t rows,
                      int64_t tokens, int64_t width, int64_t word_rows, int64_t position_rows, int32_t pad) {
  constexpr int U = 2;
  for (int64_t r = first_row(); r < rows; r += row_step()) {
    const int32_t* text = ids + r / tokens * tokens;
    int64_t end = r % tokens + 1;
    int32_t id = ids[r], position = pad;
    if (id != pad)
      for (int64_t t = 0; t < end; t += kWarp) position += count_tokens(text, t, end, pad).in_all;
    const T *word = words + checked(id, word_rows) * width, *at = positions + checked(position, position_rows) * width;
    for (int64_t first = lane() * N; first < width; first += U * kWarp * N) {
      Pack<T, N> of_word[U], of_type[U], of_position[U];
#pragma unroll
      for (int u = 0; u < U; ++u)
        if (int64_t i = first + u * kWarp * N; i < width)
          of_word[u] = load_pack<N>(word + i), of_type[u] = load_pack<N>(type + i),
          of_position[u] = load_pack<N>(at + i);
#pragma unroll
      for (int u = 0; u < U; ++u)
        if (int64_t i = first + u * kWarp * N; i < width) {
          Pack<T, N> sum;
#pragma unroll
          for (int k = 0; k < N; ++k)
            sum.v[k] =
                from_float<T>((to_float(of_word[u].v[k]) + to_float(of_type[u].v[k])) + to_float(of_position[u].v[k]));
          store_pack(y + r * width + i, sum);
        }
    }
  }
}

// position [B, T] of every token; a text by a warp.
__global__ void __launch_bounds__(kRowThreads, 4)
    positions_kernel(int32_t* position, const int32_t* ids, int64_t texts, int64_t tokens, int32_t pad) {
  for (int64_t b = first_row(); b < texts; b += row_step()) {
    const int32_t* text = ids + b * tokens;
    int32_t before = 0;
    for (int64_t t = 0; t < tokens; t += kWarp) {
      Seen seen = count_tokens(text, t, tokens, pad);
      if (int64_t i = t + lane(); i < tokens)
        position[b * tokens + i] = text[i] == pad ? pad : pad + before + seen.up_to_here;
      before += seen.in_all;
    }
  }
}

// sums [gridDim.y, width]: block y adds its slice of the rows in order. With `add` the only slice is added to `sums`.
template <int N, class T>
__global__ void __launch_bounds__(kRowThreads, 4)
    sum_slices_kernel(float* sums, const T* from, int64_t rows, int64_t width, bool add) {
  int64_t begin = rows * blockIdx.y / gridDim.y, end = rows * (blockIdx.y + 1) / gridDim.y;
  for (int64_t i = (int64_t(blockIdx.x) * kRowThreads + threadIdx.x) * N; i < width;
       i += int64_t(gridDim.x) * kRowThreads * N) {
    float sum[N] = {};
    add_rows<N, 8, T>(
        sum, end - begin, [=](int64_t r) { return from + (begin + r) * width + i; }, [](int64_t, const auto&) {});
    float* to = sums + blockIdx.y * width + i;
    if (add) {
      add_pack(to, sum);
      continue;
    }
    Pack<float, N> p;
#pragma unroll
    for (int k = 0; k < N; ++k) p.v[k] = sum[k];
    store_pack(to, p);
  }
}

// to [width] += the sum of the rows of from [rows, width]: slices side by side, then the slices' sums [.., width].
template <class T>
void add_all_rows(Ctx& ctx, float* to, const T* from, int64_t rows, int64_t width, Tensor slices) {
  with_width<T, float>({to, from, slices.data}, width, [&]<int N>() {
    unsigned blocks = unsigned(std::min(ceil_div(width, N * kRowThreads), kRowBlocks));
    launch(ctx, sum_slices_kernel<N, T>, {dim3(blocks, unsigned(slices.shape[0])), kRowThreads}, ptr<float>(slices),
           from, rows, width, false);
    launch(ctx, sum_slices_kernel<N, float>, {blocks, kRowThreads}, to, ptr<float>(slices), slices.shape[0], width,
           true);
  });
}

}  // namespace

void embed_text(Ctx& ctx, Tensor y, Tensor ids, const TextTables& tables, int32_t pad) {
  int64_t rows = ids.numel(), width = y.shape[2];
  const auto& [words, positions, types] = tables;
  dispatch_device(y.dtype, [&]<class T>() {
    with_width<T>({y.data, words.data, positions.data, types.data}, width, [&]<int N>() {
      launch(ctx, embed_text_kernel<N, T>, row_launch(rows), ptr<T>(y), ptr<int32_t>(ids), ptr<T>(words),
             ptr<T>(positions), ptr<T>(types), rows, ids.shape[1], width, words.shape[0], positions.shape[0], pad);
    });
  });
}

void embed_text_backward(Ctx& ctx, const TextTables& grads, Tensor dy, Tensor ids, int32_t pad) {
  int64_t rows = ids.numel(), width = dy.shape[2];
  auto scope = ctx.arena.scope("embed_text_backward");
  Tensor position = ctx.arena.temp(ids.shape, DType::i32), order = ctx.arena.temp({2, rows}, DType::i32);
  Tensor slices = ctx.arena.temp({std::min(rows, kSlices), width}, DType::f32);
  if (ctx.device().is_meta() || rows == 0) return;
  launch(ctx, positions_kernel, row_launch(ids.shape[0]), ptr<int32_t>(position), ptr<int32_t>(ids), ids.shape[0],
         ids.shape[1], pad);
  dispatch_device(dy.dtype, [&]<class T>() {
    auto add = [&](const Tensor& table, const Tensor& index) {
      if (table)
        add_rows_by_index(ctx, ptr<float>(table), table.shape[0], ptr<T>(dy), ptr<int32_t>(index), rows, width, pad,
                          true, order);
    };
    add(grads.words, ids);
    add(grads.positions, position);
    if (grads.types) add_all_rows(ctx, ptr<float>(grads.types), ptr<T>(dy), rows, width, slices);
  });
}

}  // namespace viaduct::ops::cuda
