// Barriers, shuffles, votes and atomics do in every schedule what CUDA says.
#include <numeric>

#include "kernels.hpp"

namespace viaduct::test {
namespace {

// Every thread's value after one of the functions below, in every schedule.
template <class F>
void for_schedules(F f) {
  for (const std::string& s : schedules()) {
    Setting schedule("EMULATION_SCHEDULE", s);
    SCOPED_TRACE("schedule " + s);
    f();
  }
}
std::vector<int> run(void (*kernel)(int*), dim3 block, size_t shared = 0) {
  DeviceArray<int> out(size_t(block.x) * block.y * block.z);
  EXPECT_EQ(launch(kernel, {1, block, shared}, out.data()), cudaSuccess);
  return out.get();
}

__global__ void indices(int* out) {
  int rank = int(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
  out[rank] = int(threadIdx.x + 10 * threadIdx.y + 100 * threadIdx.z);
}
TEST(Meeting, ThreadsKnowTheirIndices) {
  for_schedules([] {
    auto out = run(indices, dim3(5, 4, 3));
    for (int z = 0; z < 3; ++z)
      for (int y = 0; y < 4; ++y)
        for (int x = 0; x < 5; ++x) EXPECT_EQ(out[size_t(x + 5 * (y + 4 * z))], x + 10 * y + 100 * z);
  });
}

__global__ void count_blocks(int* out) {
  int block = int(blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z));
  if (threadIdx.x == 0) atomicAdd(&out[block], 1 + int(gridDim.x * gridDim.y * gridDim.z));
}
TEST(Meeting, EveryBlockRunsOnce) {
  for_schedules([] {
    DeviceArray<int> out(std::vector<int>(7 * 3 * 2, 0));
    EXPECT_EQ(launch(count_blocks, {dim3(7, 3, 2), 33}, out.data()), cudaSuccess);
    EXPECT_EQ(out.get(), std::vector<int>(7 * 3 * 2, 43));
  });
}

__global__ void turn_around(int* out) {  // through static shared memory
  __shared__ int values[256];
  values[threadIdx.x] = int(threadIdx.x);
  __syncthreads();
  out[threadIdx.x] = values[blockDim.x - 1 - threadIdx.x];
}
__global__ void turn_around_dynamic(int* out) {
  auto* values = reinterpret_cast<int*>(emulation::dynamic_shared());
  values[threadIdx.x] = int(threadIdx.x);
  __syncthreads();
  out[threadIdx.x] = values[blockDim.x - 1 - threadIdx.x];
}
TEST(Meeting, TheBarrierShowsWhatOthersWrote) {
  std::vector<int> expected(200);
  std::iota(expected.rbegin(), expected.rend(), 0);
  for_schedules([&] {
    EXPECT_EQ(run(turn_around, 200), expected);
    EXPECT_EQ(run(turn_around_dynamic, 200, 200 * sizeof(int)), expected);
  });
}

__global__ void barrier_votes(int* out) {
  int x = int(threadIdx.x), some = __syncthreads_or(x == 77), none = __syncthreads_or(0);
  int every = __syncthreads_and(x < 1000), not_every = __syncthreads_and(x != 3), three = __syncthreads_count(x < 3);
  out[x] = some | none << 1 | every << 2 | not_every << 3 | three << 4;
}
TEST(Meeting, BarriersVote) {
  for_schedules([] { EXPECT_EQ(run(barrier_votes, 100), std::vector<int>(100, 1 | 1 << 2 | 3 << 4)); });
}

__global__ void leave_early(int* out) {
  out[threadIdx.x] = 0;
  if (threadIdx.x % 3 == 0) return;
  __syncthreads();
  out[threadIdx.x] = __syncthreads_count(1);
}
TEST(Meeting, BarriersDoNotWaitForThreadsThatHaveEnded) {
  for_schedules([] {
    auto out = run(leave_early, 90);
    for (int i = 0; i < 90; ++i) EXPECT_EQ(out[size_t(i)], i % 3 ? 60 : 0);
  });
}

__global__ void warp_exchange(int* out) {  // lane 31 writes what lane 0 reads
  __shared__ int values[64];
  values[threadIdx.x] = int(threadIdx.x);
  __syncwarp();
  out[threadIdx.x] = values[threadIdx.x ^ 31];
}
TEST(Meeting, TheWarpBarrierShowsWhatOtherLanesWrote) {
  for_schedules([] {
    auto out = run(warp_exchange, 64);
    for (int i = 0; i < 64; ++i) EXPECT_EQ(out[size_t(i)], i ^ 31);
  });
}

// What the lanes 0..31 get of their own numbers, for a width of a segment.
template <int kind, int argument, int width>
__global__ void shuffle(int* out) {
  int v = int(threadIdx.x);
  if constexpr (kind == 0) v = __shfl_sync(~0u, v, argument, width);
  if constexpr (kind == 1) v = __shfl_xor_sync(~0u, v, argument, width);
  if constexpr (kind == 2) v = __shfl_down_sync(~0u, v, argument, width);
  if constexpr (kind == 3) v = __shfl_up_sync(~0u, v, argument, width);
  out[threadIdx.x] = v;
}
TEST(Meeting, ShufflesReachTheLanesThatCudaNames) {
  for_schedules([] {
    auto constant = run(shuffle<0, 5, 32>, 32), in_segment = run(shuffle<0, 5, 4>, 32),
         exchange = run(shuffle<1, 16, 32>, 32);
    auto down = run(shuffle<2, 3, 32>, 32), down8 = run(shuffle<2, 3, 8>, 32), up = run(shuffle<3, 3, 32>, 32);
    auto across = run(shuffle<1, 8, 8>, 32);  // the PTX rule for shfl.bfly: earlier segments can be reached, later not
    for (int i = 0; i < 32; ++i) {
      EXPECT_EQ(constant[size_t(i)], 5);
      EXPECT_EQ(in_segment[size_t(i)], i / 4 * 4 + 1);
      EXPECT_EQ(exchange[size_t(i)], i ^ 16);
      EXPECT_EQ(down[size_t(i)], i + 3 < 32 ? i + 3 : i);
      EXPECT_EQ(down8[size_t(i)], i % 8 + 3 < 8 ? i + 3 : i);
      EXPECT_EQ(up[size_t(i)], i >= 3 ? i - 3 : i);
      EXPECT_EQ(across[size_t(i)], i & 8 ? i ^ 8 : i);
    }
  });
}

__global__ void shuffle_wide(int* out) {
  double v = __shfl_xor_sync(~0u, double(threadIdx.x) + 0.5, 1);
  float4 q = __shfl_xor_sync(~0u, make_float4(0, 0, 0, float(threadIdx.x)), 1);
  __nv_bfloat16 h = __shfl_xor_sync(~0u, __float2bfloat16(float(threadIdx.x)), 1);
  int other = int(threadIdx.x) ^ 1;
  out[threadIdx.x] = v == other + 0.5 && q.w == float(other) && float(h) == float(other);
}
TEST(Meeting, ShufflesCarryOtherTypes) {
  for_schedules([] { EXPECT_EQ(run(shuffle_wide, 32), std::vector<int>(32, 1)); });
}

__global__ void halves(int* out) {  // the halves of a warp go their own ways
  int lane = int(threadIdx.x), v = lane;
  if (lane < 16)
    for (int o = 8; o > 0; o /= 2) v += __shfl_xor_sync(0x0000ffffu, v, o);
  else
    v = __popc(__ballot_sync(0xffff0000u, lane % 2));
  __syncwarp();
  out[lane] = v;
}
TEST(Meeting, MasksNameWhoMeets) {
  for_schedules([] {
    auto out = run(halves, 32);
    for (int i = 0; i < 32; ++i) EXPECT_EQ(out[size_t(i)], i < 16 ? 120 : 8);
  });
}

__global__ void warp_votes(int* out) {
  int lane = int(threadIdx.x);
  unsigned odd = __ballot_sync(~0u, lane & 1);
  int any = __any_sync(~0u, lane == 31), none = __any_sync(~0u, 0), all = __all_sync(~0u, 1),
      not_all = __all_sync(~0u, lane);
  out[lane] = odd == 0xaaaaaaaau && any && !none && all && !not_all;
}
TEST(Meeting, WarpsVote) {
  for_schedules([] { EXPECT_EQ(run(warp_votes, 32), std::vector<int>(32, 1)); });
}

__global__ void part_of_a_warp(int* out) {  // lanes that have ended, or never were, are not waited for
  if (threadIdx.x % 19 == 0) return;        // the first and the last: one of them ends when all others wait
  int v = 1;
  v = __popc(__ballot_sync(~0u, v));
  out[threadIdx.x] = v;
}
TEST(Meeting, WarpFunctionsDoNotWaitForLanesThatHaveEnded) {
  for_schedules([] {
    auto out = run(part_of_a_warp, 20);
    for (int i = 0; i < 20; ++i) EXPECT_EQ(out[size_t(i)], i % 19 ? 18 : -1);  // memory starts as 0xff
  });
}

__global__ void atomics(float* sum, int* top, unsigned* bits, unsigned long long* count, int* taken) {
  int i = int(threadIdx.x + blockIdx.x * blockDim.x);
  atomicAdd(sum, 1);
  atomicMax(top, i % 1000);
  atomicOr(bits, 1u << i % 32);
  atomicAdd(count, 2ull);
  if (atomicCAS(taken, -1, i) == -1) atomicExch(taken, -2 - *taken);
}
TEST(Meeting, AtomicsLoseNothing) {
  DeviceArray<float> sum(std::vector<float>{0});
  DeviceArray<int> top(std::vector<int>{0}), taken(std::vector<int>{-1});
  DeviceArray<unsigned> bits(std::vector<unsigned>{0});
  DeviceArray<unsigned long long> count(std::vector<unsigned long long>{0});
  EXPECT_EQ(launch(atomics, {20, 128}, sum.data(), top.data(), bits.data(), count.data(), taken.data()), cudaSuccess);
  EXPECT_EQ(sum.get()[0], 2560.0f);
  EXPECT_EQ(top.get()[0], 999);
  EXPECT_EQ(bits.get()[0], ~0u);
  EXPECT_EQ(count.get()[0], 5120u);
  EXPECT_LT(taken.get()[0], -1);
}

}  // namespace
}  // namespace viaduct::test
