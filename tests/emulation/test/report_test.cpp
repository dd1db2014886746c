// Kernels that would hang or be undefined on a GPU end the program with a report that names the place.
#include "kernels.hpp"

namespace viaduct::test {
namespace {

void run(void (*kernel)(int*), unsigned threads = 64, size_t shared = 0) {
  DeviceArray<int> out(threads);
  (void)launch(kernel, {1, threads, shared}, out.data());
}

__global__ void some_skip_the_barrier(int* out) {
  if (threadIdx.x % 2)
    __syncthreads();
  else
    __syncwarp();
  out[threadIdx.x] = 1;
}
TEST(Report, ABarrierThatNotAllComeTo) {
  EXPECT_DEATH(run(some_skip_the_barrier),
               "deadlock.*block \\(0, 0, 0\\)(.|\n)*thread \\(0, 0, 0\\) and 31 more: waits for its warp"
               "(.|\n)*__syncthreads, .*report_test.cpp:[0-9]+ in .*some_skip_the_barrier");
}

__global__ void two_barriers(int* out) {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();
  out[threadIdx.x] = 1;
}
TEST(Report, ThreadsAtDifferentBarriers) {
  EXPECT_DEATH(run(two_barriers), "divergence.*different barriers(.|\n)*report_test.cpp");
}

__global__ void two_warp_functions(int* out) {
  out[threadIdx.x] = threadIdx.x % 2 ? __shfl_xor_sync(~0u, 1, 1) : int(__ballot_sync(~0u, 1));
}
TEST(Report, LanesInDifferentWarpFunctions) {
  EXPECT_DEATH(run(two_warp_functions), "divergence.*different functions(.|\n)*report_test.cpp");
}

__global__ void overlapping_masks(int* out) {  // the upper lanes wait for the lower ones, which have moved on
  out[threadIdx.x] = __shfl_xor_sync(threadIdx.x % 32 < 16 ? 0xffffu : ~0u, 1, 1);
  __syncthreads();
}
TEST(Report, MasksThatOverlap) {
  EXPECT_DEATH(run(overlapping_masks), "deadlock(.|\n)*shuffle, .*report_test.cpp.*mask ffffffff");
}

__global__ void lane_outside_its_mask(int* out) { out[threadIdx.x] = __shfl_xor_sync(0xffffu, 1, 1); }
TEST(Report, ALaneOutsideItsMask) {
  EXPECT_DEATH(run(lane_outside_its_mask), "whose mask does not name it(.|\n)*mask 0000ffff");
}

__global__ void shuffle_from_outside(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_xor_sync(0xffffu, 1, 16);
}
TEST(Report, AShuffleFromOutsideTheMask) {
  EXPECT_DEATH(run(shuffle_from_outside), "shuffle from a lane that the mask does not name");
}

__global__ void mma_without_all_lanes(int* out) {
  if (threadIdx.x % 32 == 9) return;
  float d[4] = {};
  uint32_t a[4] = {}, b[2] = {};
  emulation::mma_m16n8k16_bf16(d, a, b);
  out[threadIdx.x] = int(d[0]);
}
TEST(Report, AnMmaWithoutTheWholeWarp) { EXPECT_DEATH(run(mma_without_all_lanes), "instruction of the whole warp"); }

__global__ void unaligned_copy(int* out) {
  __shared__ __align__(16) int shared[64];
  emulation::cp_async16(shared, out + 1, true);
}
TEST(Report, AnAsynchronousCopyFromAnUnalignedAddress) {
  EXPECT_DEATH(run(unaligned_copy), "multiples of 16(.|\n)*cp.async, .*report_test.cpp");
}

__global__ void traps(int*) {
  if (threadIdx.x == 5) __trap();
}
TEST(Report, ATrap) { EXPECT_DEATH(run(traps), "has trapped(.|\n)*here: thread \\(5, 0, 0\\)"); }

__global__ void beyond_shared(int*) { reinterpret_cast<int*>(emulation::dynamic_shared())[threadIdx.x + 1] = 0; }
TEST(Report, AWriteBeyondDynamicSharedMemory) {
  EXPECT_DEATH(run(beyond_shared, 64, 64 * sizeof(int)),
               "byte 256 of 256 bytes of dynamic shared memory|use-after-poison");
}

__global__ void beyond_array(int* out) { out[threadIdx.x + 1] = 0; }
__global__ void before_array(int* out) { out[int(threadIdx.x) - 1] = 0; }
TEST(Report, AWriteAroundDeviceMemory) {
  EXPECT_DEATH(run(beyond_array), "byte 256 of 256 bytes of device memory.*seen after a kernel|use-after-poison");
  EXPECT_DEATH(run(before_array), "byte -4 of 256 bytes of device memory.*seen after a kernel|use-after-poison");
}

TEST(Report, SettingsThatAreNone) {
  Setting schedule("EMULATION_SCHEDULE", "sideways");
  EXPECT_DEATH(run(beyond_array), "EMULATION_SCHEDULE must be forward, reverse or a number, found \"sideways\"");
}

}  // namespace
}  // namespace viaduct::test
