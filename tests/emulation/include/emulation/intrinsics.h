// Device functions. Where the lanes of a warp or the threads of a block meet, the runtime (../../fibers.cpp,
// ../../warp.cpp) lets the last one to arrive do the work for all; what touches the kernel's memory stays inline here,
// so that sanitizers see it.
#pragma once
#include <math.h>

#include <atomic>
#include <bit>
#include <cstdio>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "emulation/types.h"

namespace emulation {
using Where = std::source_location;

unsigned lane();
unsigned char* dynamic_shared();  // of this block, aligned to 128 bytes

struct Votes {
  int yes, all;
};
Votes block_barrier(bool vote, Where);
void warp_barrier(unsigned mask, Where);
void shuffle(unsigned mask, void* value, size_t bytes, unsigned source, Where);  // value of lane `source` into `value`
unsigned ballot(unsigned mask, bool vote, Where);
void mma_bf16(float* d, const uint32_t* a, const uint32_t* b, Where);
void load_matrices(uint32_t* r, const uint16_t* row, bool transposed, Where);  // row [8]
void copy_begins(void* to, const void* from, Where);                           // 16 bytes; zeros when `from` is null
void copies_commit();
void copies_wait(int pending);
[[noreturn]] void trap(Where);

// The wrappers of core/ops/cuda/mma.cuh.
inline void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                              Where where = Where::current()) {
  mma_bf16(d, a, b, where);
}
inline void ldmatrix_x4(uint32_t (&r)[4], const void* shared_row, bool transposed, Where where = Where::current()) {
  uint16_t row[8];
  for (int c = 0; c < 8; ++c) row[c] = static_cast<const uint16_t*>(shared_row)[c];
  load_matrices(r, row, transposed, where);
}
inline void cp_async16(void* shared, const void* global, bool valid, Where where = Where::current()) {
  auto* to = static_cast<uint32_t*>(shared);
  auto* from = static_cast<const uint32_t*>(global);
  for (int c = 0; c < 4; ++c) to[c] = valid ? from[c] : 0;  // the runtime undoes it where the copy is to arrive late
  copy_begins(shared, valid ? global : nullptr, where);
}
inline void cp_async_commit() { copies_commit(); }
inline void cp_async_wait(int pending) { copies_wait(pending); }

template <class T>
T shuffled(unsigned mask, T value, unsigned source, Where where) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 16);
  shuffle(mask, &value, sizeof(T), source, where);
  return value;
}
// Lanes outside this lane's segment of `width` lanes are out of reach: the lane gets its own value.
inline unsigned within_segment(unsigned source, int width) {
  return source / unsigned(width) == lane() / unsigned(width) ? source : lane();
}
template <class To, class From>
To bits(From from) {
  return std::bit_cast<To>(from);
}
}  // namespace emulation

// Barriers.
inline void __syncthreads(emulation::Where w = emulation::Where::current()) { emulation::block_barrier(false, w); }
inline int __syncthreads_or(int p, emulation::Where w = emulation::Where::current()) {
  return emulation::block_barrier(p != 0, w).yes > 0;
}
inline int __syncthreads_and(int p, emulation::Where w = emulation::Where::current()) {
  auto votes = emulation::block_barrier(p != 0, w);
  return votes.yes == votes.all;
}
inline int __syncthreads_count(int p, emulation::Where w = emulation::Where::current()) {
  return emulation::block_barrier(p != 0, w).yes;
}
inline void __syncwarp(unsigned mask = ~0u, emulation::Where w = emulation::Where::current()) {
  emulation::warp_barrier(mask, w);
}
inline void __threadfence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void __threadfence_block() { __threadfence(); }
inline void __trap(emulation::Where w = emulation::Where::current()) { emulation::trap(w); }

// Shuffles and votes.
template <class T>
T __shfl_sync(unsigned mask, T v, int source, int width = 32, emulation::Where w = emulation::Where::current()) {
  unsigned segment = emulation::lane() / unsigned(width) * unsigned(width);
  return emulation::shuffled(mask, v, segment + unsigned(source) % unsigned(width), w);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32, emulation::Where w = emulation::Where::current()) {
  // As the hardware: lanes of earlier segments can be reached, of later ones not.
  unsigned source = emulation::lane() ^ unsigned(bits);
  bool later = source / unsigned(width) > emulation::lane() / unsigned(width);
  return emulation::shuffled(mask, v, later ? emulation::lane() : source, w);
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned d, int width = 32, emulation::Where w = emulation::Where::current()) {
  return emulation::shuffled(mask, v, emulation::within_segment(emulation::lane() + d, width), w);
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned d, int width = 32, emulation::Where w = emulation::Where::current()) {
  return emulation::shuffled(mask, v, emulation::within_segment(emulation::lane() - d, width), w);
}
inline unsigned __ballot_sync(unsigned mask, int p, emulation::Where w = emulation::Where::current()) {
  return emulation::ballot(mask, p != 0, w);
}
inline int __any_sync(unsigned mask, int p, emulation::Where w = emulation::Where::current()) {
  return emulation::ballot(mask, p != 0, w) != 0;
}
inline int __all_sync(unsigned mask, int p, emulation::Where w = emulation::Where::current()) {
  return emulation::ballot(mask, p == 0, w) == 0;
}

// Atomics: relaxed, as on the device; the value before.
template <class T>
T atomicAdd(T* p, std::type_identity_t<T> v) {
  return std::atomic_ref<T>(*p).fetch_add(v, std::memory_order_relaxed);
}
template <class T>
T atomicSub(T* p, std::type_identity_t<T> v) {
  return std::atomic_ref<T>(*p).fetch_sub(v, std::memory_order_relaxed);
}
template <class T>
T atomicExch(T* p, std::type_identity_t<T> v) {
  return std::atomic_ref<T>(*p).exchange(v, std::memory_order_relaxed);
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  std::atomic_ref<T>(*p).compare_exchange_strong(expected, v, std::memory_order_relaxed);
  return expected;
}
template <class T>
T atomicOr(T* p, std::type_identity_t<T> v) {
  return std::atomic_ref<T>(*p).fetch_or(v, std::memory_order_relaxed);
}
template <class T>
T atomicAnd(T* p, std::type_identity_t<T> v) {
  return std::atomic_ref<T>(*p).fetch_and(v, std::memory_order_relaxed);
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> v) {
  std::atomic_ref<T> a(*p);
  T old = a.load(std::memory_order_relaxed);
  while (old < v && !a.compare_exchange_weak(old, v, std::memory_order_relaxed)) {
  }
  return old;
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> v) {
  std::atomic_ref<T> a(*p);
  T old = a.load(std::memory_order_relaxed);
  while (v < old && !a.compare_exchange_weak(old, v, std::memory_order_relaxed)) {
  }
  return old;
}

// Loads and stores with cache hints.
template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldcs(const T* p) {
  return *p;
}
template <class T>
T __ldcg(const T* p) {
  return *p;
}
template <class T>
void __stcs(T* p, std::type_identity_t<T> v) {
  *p = v;
}
template <class T>
void __stcg(T* p, std::type_identity_t<T> v) {
  *p = v;
}

// Arithmetic. The fast forms are exact here, within the error that CUDA allows them.
inline float rsqrtf(float x) noexcept { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) noexcept { return 1.0 / sqrt(x); }
inline float __expf(float x) noexcept { return expf(x); }
inline float __logf(float x) noexcept { return logf(x); }
inline float __log2f(float x) noexcept { return log2f(x); }
inline float __powf(float x, float y) noexcept { return powf(x, y); }
inline float __sinf(float x) noexcept { return sinf(x); }
inline float __cosf(float x) noexcept { return cosf(x); }
inline float sinpif(float x) noexcept { return float(sin(M_PI * double(x))); }
inline float cospif(float x) noexcept { return float(cos(M_PI * double(x))); }
inline float __fdividef(float x, float y) noexcept { return x / y; }
inline float __fdiv_rn(float x, float y) noexcept { return x / y; }
inline float __frcp_rn(float x) noexcept { return 1.0f / x; }
inline float __fsqrt_rn(float x) noexcept { return sqrtf(x); }
inline float __fmaf_rn(float x, float y, float z) noexcept { return fmaf(x, y, z); }
inline float __saturatef(float x) noexcept { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }
inline float __fmul_rn(float x, float y) noexcept {
  float product = x * y;
  asm("" : "+x"(product));  // not to be contracted into a fused multiply-add
  return product;
}
inline float __fadd_rn(float x, float y) noexcept { return x + y; }
inline float __fsub_rn(float x, float y) noexcept { return x - y; }
inline int __float2int_rn(float x) noexcept { return int(nearbyintf(x)); }
inline long long __float2ll_rn(float x) noexcept { return llrintf(x); }
inline long long __double2ll_rn(double x) noexcept { return llrint(x); }
inline float __int2float_rn(int x) noexcept { return float(x); }
inline float __uint2float_rn(unsigned x) noexcept { return float(x); }
inline float __ll2float_rn(long long x) noexcept { return float(x); }
inline int __float_as_int(float x) noexcept { return emulation::bits<int>(x); }
inline unsigned __float_as_uint(float x) noexcept { return emulation::bits<unsigned>(x); }
inline float __int_as_float(int x) noexcept { return emulation::bits<float>(x); }
inline float __uint_as_float(unsigned x) noexcept { return emulation::bits<float>(x); }
inline long long __double_as_longlong(double x) noexcept { return emulation::bits<long long>(x); }
inline double __longlong_as_double(long long x) noexcept { return emulation::bits<double>(x); }
inline unsigned __umulhi(unsigned x, unsigned y) noexcept { return unsigned((uint64_t(x) * y) >> 32); }
inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y) noexcept {
  __extension__ using Wide = unsigned __int128;
  return static_cast<unsigned long long>((static_cast<Wide>(x) * y) >> 64);
}
inline int __popc(unsigned x) noexcept { return std::popcount(x); }
inline int __popcll(unsigned long long x) noexcept { return std::popcount(x); }
inline int __ffs(int x) noexcept { return __builtin_ffs(x); }
inline int __clz(int x) noexcept { return std::countl_zero(unsigned(x)); }
inline int __clzll(long long x) noexcept { return std::countl_zero(static_cast<unsigned long long>(x)); }

#define EMULATION_MIN_MAX(T, A, B)           \
  inline T max(A first, B second) noexcept { \
    T a = static_cast<T>(first);             \
    T b = static_cast<T>(second);            \
    return a < b ? b : a;                    \
  }                                          \
  inline T min(A first, B second) noexcept { \
    T a = static_cast<T>(first);             \
    T b = static_cast<T>(second);            \
    return b < a ? b : a;                    \
  }
EMULATION_MIN_MAX(int, int, int)
EMULATION_MIN_MAX(unsigned, unsigned, unsigned)
EMULATION_MIN_MAX(unsigned, int, unsigned)
EMULATION_MIN_MAX(unsigned, unsigned, int)
EMULATION_MIN_MAX(long, long, long)
EMULATION_MIN_MAX(unsigned long, unsigned long, unsigned long)
EMULATION_MIN_MAX(long long, long long, long long)
EMULATION_MIN_MAX(unsigned long long, unsigned long long, unsigned long long)
#undef EMULATION_MIN_MAX
inline float max(float a, float b) noexcept { return fmaxf(a, b); }
inline float min(float a, float b) noexcept { return fminf(a, b); }
inline double max(double a, double b) noexcept { return fmax(a, b); }
inline double min(double a, double b) noexcept { return fmin(a, b); }
