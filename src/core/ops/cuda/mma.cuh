// Tensor-core and asynchronous-copy instructions (PTX ISA 8.x: mma, ldmatrix, cp.async), Ampere and later; emulated for
// the tests.
#pragma once
#include <cstring>

#include "core/ops/cuda/kernel.cuh"

namespace viaduct::ops::cuda {

// d [16, 8] += a [16, 16] b [16, 8]; fragments as PTX lays them out for mma.m16n8k16: with g = lane / 4, t = lane % 4,
// a = {(g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8)} two columns each, b = {(2t, g), (2t + 8, g)} two rows each,
// d = {(g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)}.
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef __CUDACC__
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  emulation::mma_m16n8k16_bf16(d, a, b);
#endif
}

// Four 8x8 matrices of 16-bit elements: lane l gives the address of row l % 8 of matrix l / 8, aligned to 16 bytes, and
// receives of each matrix the elements (l / 4, 2 (l % 4)) and its right neighbour, or of its transpose.
template <bool transposed = false>
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* shared_row) {
#ifdef __CUDACC__
  uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(shared_row));
  if constexpr (transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
#else
  emulation::ldmatrix_x4(r, shared_row, transposed);
#endif
}

// 16 bytes from global to shared memory, both aligned to 16; zeros when not `valid` (nothing is read then). They have
// arrived for this thread after the wait for their group, for the block after a barrier behind it.
__device__ __forceinline__ void cp_async16(void* shared, const void* global, bool valid = true) {
#ifdef __CUDACC__
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
      "l"(global), "r"(valid ? 16 : 0)
      : "memory");
#else
  emulation::cp_async16(shared, global, valid);
#endif
}
__device__ __forceinline__ void cp_async_commit() {
#ifdef __CUDACC__
  asm volatile("cp.async.commit_group;\n" ::: "memory");
#else
  emulation::cp_async_commit();
#endif
}
// Until at most `pending` of this thread's newest groups are under way.
template <int pending>
__device__ __forceinline__ void cp_async_wait() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_group %0;\n" ::"n"(pending) : "memory");
#else
  emulation::cp_async_wait(pending);
#endif
}

// 2^x, off by at most two units in the last place (PTX ISA 8.x: ex2.approx); results below the normal numbers are 0.
__device__ __forceinline__ float fast_exp2(float x) {
#ifdef __CUDACC__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
  return y;
#else
  return exp2f(x);
#endif
}

// Two floats rounded to bf16 in one register, `low` in the lower half.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  uint32_t bits;
  memcpy(&bits, &pair, sizeof bits);
  return bits;
}

}  // namespace viaduct::ops::cuda
