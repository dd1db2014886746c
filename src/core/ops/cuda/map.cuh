// Elementwise kernels: f of every element, in packs as wide as the addresses allow.
#pragma once
#include "core/ops/cuda/kernel.cuh"

namespace viaduct::ops::cuda {

constexpr int kMapThreads = 256;
constexpr int64_t kMapBlocks = 1 << 16;  // the most; beyond them blocks take a second turn

// So many packs of every input are on their way to a thread at once.
template <int inputs>
constexpr int kInFlight = inputs == 0  ? 1
                          : inputs < 4 ? 4 / inputs
                                       : 1;

template <int inputs>
Launch map_launch(int64_t packs) {
  return {unsigned(std::min(ceil_div(packs, kMapThreads * kInFlight<inputs>), kMapBlocks)), kMapThreads};
}

template <class T, int N, int U>
struct Input {
  const T* from;
  Pack<T, N> held[U];
  __device__ explicit Input(const T* at) : from(at) {}
};

// One turn of for_packs: packs first, first + blockDim.x, ..; all are loaded before f stores, because outputs may alias
// inputs and the compiler would not reorder them.
template <int N, int U, class F, class... T>
__device__ __forceinline__ void map_turn(int64_t first, int64_t packs, F& f, Input<T, N, U>... in) {
#pragma unroll
  for (int u = 0; u < U; ++u)
    if (int64_t pack = first + u * int(blockDim.x); pack < packs)
      ((in.held[u] = load_pack<N>(in.from + pack * N)), ...);
#pragma unroll
  for (int u = 0; u < U; ++u)
    if (int64_t pack = first + u * int(blockDim.x); pack < packs) f.template operator()<N>(pack * N, in.held[u]...);
}

// f.template operator()<M>(i, packs...) with elements i .. i + M - 1 of every input: M = N, and 1 for the last n % N. The
// blocks of grid.x share the work.
template <int N, class F, class... T>
__device__ __forceinline__ void for_packs(int64_t n, F f, const T*... from) {
  constexpr int U = kInFlight<sizeof...(T)>;
  int64_t packs = n / N, turn = int64_t(gridDim.x) * blockDim.x * U;
  for (int64_t first = int64_t(blockIdx.x) * blockDim.x * U + threadIdx.x; first < packs; first += turn)
    map_turn<N, U>(first, packs, f, Input<T, N, U>(from)...);
  int64_t last = packs * N + threadIdx.x;
  if (blockIdx.x == 0 && last < n) f.template operator()<1>(last, load_pack<1>(from + last)...);
}

// to[i] = f(from[i]...), in fp32; `to` may be one of the inputs.
template <int N, class To, class F, class... T>
__device__ __forceinline__ void map(int64_t n, To* to, F f, const T*... from) {
  for_packs<N>(
      n,
      [=]<int M>(int64_t i, const auto&... x) {
        Pack<To, M> y;
#pragma unroll
        for (int k = 0; k < M; ++k) y.v[k] = from_float<To>(f(to_float(x.v[k])...));
        store_pack(to + i, y);
      },
      from...);
}

}  // namespace viaduct::ops::cuda
