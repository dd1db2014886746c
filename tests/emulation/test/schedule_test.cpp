// Kernels with a bug each: some schedule shows it, and none shows one in the kernel without it.
#include <omp.h>

#include "kernels.hpp"

namespace viaduct::test {
namespace {

// How many of the schedules give what is expected.
template <class F>
int schedules_that_agree(F result_is_right) {
  int right = 0;
  for (const std::string& s : schedules()) {
    Setting schedule("EMULATION_SCHEDULE", s);
    right += result_is_right();
  }
  return right;
}
const int kAll = int(schedules().size());

constexpr int kThreads = 128;

// The sum over a block, in two steps: [warps] partial sums go through shared memory.
template <bool barrier_after_write, bool barrier_before_reuse>
__global__ void sums(const int* in, int* out, int rounds) {
  __shared__ int partial[kThreads / 32];
  for (int r = 0; r < rounds; ++r) {
    int v = in[r * kThreads + int(threadIdx.x)];
    for (int o = 16; o > 0; o /= 2) v += __shfl_xor_sync(~0u, v, o);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
    if (barrier_after_write) __syncthreads();
    int total = 0;
    for (int w = 0; w < kThreads / 32; ++w) total += partial[w];
    if (barrier_before_reuse) __syncthreads();
    out[r * kThreads + int(threadIdx.x)] = total;
  }
}

template <bool after_write, bool before_reuse>
bool sums_are_right() {
  constexpr int rounds = 6;
  std::vector<int> in(rounds * kThreads), expected(rounds * kThreads);
  for (int r = 0; r < rounds; ++r)
    for (int i = 0; i < kThreads; ++i) {
      in[size_t(r * kThreads + i)] = r * i + 1;
      expected[size_t(r * kThreads + i)] = r * kThreads * (kThreads - 1) / 2 + kThreads;
    }
  DeviceArray<int> from(in), to(in.size());
  EXPECT_EQ(launch(sums<after_write, before_reuse>, {1, kThreads}, from.data(), to.data(), rounds), cudaSuccess);
  return to.get() == expected;
}

TEST(Schedule, NoneDisturbsACorrectKernel) { EXPECT_EQ(schedules_that_agree(sums_are_right<true, true>), kAll); }
TEST(Schedule, EveryOneShowsAMissingBarrierBehindAWrite) {
  if (kThreadSanitizer) return expect_race(sums_are_right<false, true>);
  EXPECT_EQ(schedules_that_agree(sums_are_right<false, true>), 0);
}
TEST(Schedule, RandomOnesShowAMissingBarrierBeforeReuse) {  // in step with each other, warps hide it
  if (kThreadSanitizer) return expect_race(sums_are_right<true, false>);
  int right = schedules_that_agree(sums_are_right<true, false>);
  EXPECT_LT(right, kAll);
  Setting schedule("EMULATION_SCHEDULE", "forward");
  EXPECT_TRUE((sums_are_right<true, false>()));
}

__global__ void last_one_wins(int* out) {
  if (threadIdx.x == 0) *out = int(blockIdx.x);
}
TEST(Schedule, BlocksComeInEveryOrder) {
  int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  auto winner = [](const std::string& s) {
    Setting schedule("EMULATION_SCHEDULE", s);
    DeviceArray<int> out(1);
    EXPECT_EQ(launch(last_one_wins, {50, 32}, out.data()), cudaSuccess);
    return out.get()[0];
  };
  EXPECT_EQ(winner("forward"), 49);
  EXPECT_EQ(winner("reverse"), 0);
  EXPECT_NE(winner("1"), winner("2"));
  omp_set_num_threads(threads);
}

__global__ void lane_order(int* next, int* order) { order[threadIdx.x] = atomicAdd(next, 1); }
TEST(Schedule, ASeedGivesTheSameOrderAgain) {
  auto order = [](const std::string& s) {
    Setting schedule("EMULATION_SCHEDULE", s);
    DeviceArray<int> next(std::vector<int>{0}), out(kThreads);
    EXPECT_EQ(launch(lane_order, {1, kThreads}, next.data(), out.data()), cudaSuccess);
    return out.get();
  };
  EXPECT_EQ(order("1"), order("1"));
  EXPECT_NE(order("1"), order("2"));
  std::vector<int> forward = order("forward"), reverse = order("reverse");
  for (int i = 0; i < kThreads; ++i) {
    EXPECT_EQ(forward[size_t(i)], i);
    EXPECT_EQ(reverse[size_t(i)], kThreads - 1 - i);
  }
}

__global__ void read_shared(float* out) {
  out[threadIdx.x] = reinterpret_cast<float*>(emulation::dynamic_shared())[threadIdx.x];
}
TEST(Schedule, SharedMemoryStartsAsNaN) {
  DeviceArray<float> out(64);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(launch(read_shared, {1, 64, 256}, out.data()), cudaSuccess);
    for (float x : out.get()) EXPECT_TRUE(std::isnan(x));
  }
}

}  // namespace
}  // namespace viaduct::test
