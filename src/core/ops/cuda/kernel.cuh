// What every kernel file begins with. The same sources are compiled by nvcc for a GPU and by the C++ compiler for the
// emulated device of the tests, whose <cuda_runtime.h> stands in for CUDA's; so kernels use the names below and the
// CUDA runtime API, and no <<< >>>, extern __shared__ or inline PTX of their own (mma.cuh has that).
#pragma once
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <initializer_list>

#include "core/base/range.hpp"
#include "core/device/context.hpp"
#include "core/device/cuda/check.hpp"

namespace viaduct::ops::cuda {

using bfloat16 = __nv_bfloat16;
using viaduct::cuda::check;

inline cudaStream_t stream_of(const Ctx& ctx) { return static_cast<cudaStream_t>(ctx.stream.native()); }

// launch(ctx, kernel<T>, {grid, block}, arguments...). An empty grid is no launch.
struct Launch {
  dim3 grid, block;
  size_t shared = 0;  // dynamic shared memory in bytes; above 48 KiB the kernel must have been allowed it
};
template <class... P, class... A>
void launch(const Ctx& ctx, void (*kernel)(P...), const Launch& l, A&&... args) {
  if (l.grid.x == 0 || l.grid.y == 0 || l.grid.z == 0) return;
  cudaLaunchConfig_t config{};
  config.gridDim = l.grid, config.blockDim = l.block, config.dynamicSmemBytes = l.shared;
  config.stream = stream_of(ctx);
  check(cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...));
}

// The block's dynamic shared memory, aligned to 128 bytes; uninitialised.
template <class T>
__device__ T* dynamic_shared() {
#ifdef __CUDACC__
  extern __shared__ __align__(128) unsigned char shared_bytes[];
  return reinterpret_cast<T*>(shared_bytes);
#else
  return reinterpret_cast<T*>(emulation::dynamic_shared());
#endif
}

// The element type of the device for a dtype, as the dispatch of tensor/dtype.hpp: fp64 stays on the CPU.
template <class F>
void dispatch_device(DType t, F&& f) {
  if (t == DType::f32) return f.template operator()<float>();
  if (t == DType::bf16) return f.template operator()<bfloat16>();
  fail(Exit::crash, fmt::format("expected fp32 or bf16 on cuda, found {}", name_of(t)));
}
template <class T>
T* ptr(const Tensor& t) {
  return static_cast<T*>(t.data);
}

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bfloat16 x) { return __bfloat162float(x); }
template <class T>
__device__ __forceinline__ T from_float(float x) {
  if constexpr (sizeof(T) == 2)
    return __float2bfloat16(x);
  else
    return x;
}

// n elements, 16 bytes of them where nothing else is said, moved at once; the address must be aligned to their size.
template <class T, int n = 16 / int(sizeof(T))>
struct alignas(n * sizeof(T)) Pack {
  static constexpr int size = n;
  T v[n];
};
template <int n, class T>
__device__ __forceinline__ Pack<T, n> load_pack(const T* at) {
  return *reinterpret_cast<const Pack<T, n>*>(at);
}
template <class T>
__device__ __forceinline__ Pack<T> load_pack(const T* at) {
  return load_pack<Pack<T>::size>(at);
}
template <class T, int n>
__device__ __forceinline__ void store_pack(T* at, const Pack<T, n>& p) {
  *reinterpret_cast<Pack<T, n>*>(at) = p;
}
inline bool packs(const void* data, int64_t columns, int64_t element_bytes) {  // rows of whole packs from there
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && columns * element_bytes % 16 == 0;
}

// Calls f.template operator()<N>(): N elements of each of these types can be moved at once from these addresses on, in
// rows of `columns`: 16 bytes of the widest type, or else 1.
template <class... T, class F>
void with_width(std::initializer_list<const void*> addresses, int64_t columns, F&& f) {
  constexpr int widest = 16 / int(std::max({sizeof(T)...}));
  bool whole = columns % widest == 0;
  for (const void* at : addresses) whole &= reinterpret_cast<uintptr_t>(at) % 16 == 0;
  whole ? f.template operator()<widest>() : f.template operator()<1>();
}

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kWarp = 32;

// Sums and maxima over the lanes of a warp, the same bits in every lane.
template <class T>
__device__ __forceinline__ T warp_sum(T x) {
  for (int o = kWarp / 2; o > 0; o /= 2) x += __shfl_xor_sync(kAllLanes, x, o);
  return x;
}
__device__ __forceinline__ float warp_max(float x) {
  for (int o = kWarp / 2; o > 0; o /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, o));
  return x;
}

// The same over a block of at most 1024 threads, a multiple of 32; `shared` [32]. Every thread gets the result, and
// `shared` may be used again at once.
template <class T>
__device__ __forceinline__ T block_sum(T x, T* shared) {
  int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp, warps = int(blockDim.x) / kWarp;
  x = warp_sum(x);
  if (lane == 0) shared[warp] = x;
  __syncthreads();
  x = warp_sum(lane < warps ? shared[lane] : T(0));
  __syncthreads();
  return x;
}
__device__ __forceinline__ float block_max(float x, float* shared) {
  int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp, warps = int(blockDim.x) / kWarp;
  x = warp_max(x);
  if (lane == 0) shared[warp] = x;
  __syncthreads();
  x = warp_max(lane < warps ? shared[lane] : shared[0]);
  __syncthreads();
  return x;
}

}  // namespace viaduct::ops::cuda
