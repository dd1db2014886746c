// Memory of the emulated device: guard zones, leaks, copies, and what launches refuse.
#include <cmath>

#include "kernels.hpp"

namespace viaduct::test {
namespace {

TEST(Memory, StartsAsNaN) {
  DeviceArray<float> a(100);
  for (float x : a.get()) EXPECT_TRUE(std::isnan(x));
  float* pinned;
  ASSERT_EQ(cudaMallocHost(&pinned, 400), cudaSuccess);
  EXPECT_TRUE(std::isnan(pinned[99]));
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
}

TEST(Memory, IsAlignedAndCounted) {
  size_t before, during, total;
  ASSERT_EQ(cudaMemGetInfo(&before, &total), cudaSuccess);
  {
    DeviceArray<char> a(1000003);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(a.data()) % 256, 0u);
    ASSERT_EQ(cudaMemGetInfo(&during, &total), cudaSuccess);
    EXPECT_EQ(before - during, 1000003u);
  }
  ASSERT_EQ(cudaMemGetInfo(&during, &total), cudaSuccess);
  EXPECT_EQ(before, during);
}

TEST(Memory, RunsOut) {
  size_t free, total;
  ASSERT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  void* p = &p;
  EXPECT_EQ(cudaMalloc(&p, free + 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(p, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST(Memory, LeaksAreListed) {
  EXPECT_EQ(emulation::leaks(), "");
  void *device, *pinned;
  ASSERT_EQ(cudaMalloc(&device, 12), cudaSuccess);
  ASSERT_EQ(cudaMallocHost(&pinned, 34), cudaSuccess);
  std::string leaks = emulation::leaks();
  EXPECT_NE(leaks.find("12 bytes of device memory"), std::string::npos) << leaks;
  EXPECT_NE(leaks.find("34 bytes of pinned memory"), std::string::npos) << leaks;
  EXPECT_EQ(cudaFree(device), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
  EXPECT_EQ(emulation::leaks(), "");
}

TEST(Memory, OnlyWhatWasGivenIsFreed) {
  DeviceArray<char> a(64);
  char host;
  testing::internal::CaptureStderr();
  EXPECT_EQ(cudaFree(a.data() + 1), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(&host), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFreeHost(a.data()), cudaErrorInvalidValue);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("cudaFree of what cudaMalloc has not given"),
            std::string::npos);
  EXPECT_EQ(cudaFree(nullptr), cudaSuccess);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
}

TEST(Memory, PinnedMemoryIsGuardedToo) {
  auto overrun = [] {
    char* p;
    (void)cudaMallocHost(&p, 10);
    p[10] = 0;
    (void)cudaFreeHost(p);
  };
  EXPECT_DEATH(overrun(), "byte 10 of 10 bytes of pinned memory.*when it was freed|use-after-poison");
}

TEST(Memory, CopiesStayWithinTheirAllocations) {
  DeviceArray<int> a(std::vector<int>{1, 2, 3, 4}), b(4);
  std::vector<int> host(8, 0);
  auto copy = [](void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    testing::internal::CaptureStderr();
    cudaError_t e = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
    return std::pair{e, testing::internal::GetCapturedStderr()};
  };
  auto beyond = copy(host.data(), a.data(), 20, cudaMemcpyDeviceToHost);
  EXPECT_EQ(beyond.first, cudaErrorInvalidValue);
  EXPECT_NE(beyond.second.find("20 bytes of the source of a copy reach beyond 16 bytes"), std::string::npos);
  EXPECT_EQ(copy(a.data(), host.data(), 20, cudaMemcpyHostToDevice).first, cudaErrorInvalidValue);
  EXPECT_EQ(copy(host.data(), a.data(), 16, cudaMemcpyHostToDevice).first, cudaErrorInvalidValue);
  EXPECT_EQ(copy(host.data(), host.data() + 4, 16, cudaMemcpyDeviceToDevice).first, cudaErrorInvalidValue);
  EXPECT_EQ(copy(b.data(), a.data(), 16, cudaMemcpyDeviceToDevice).first, cudaSuccess);
  EXPECT_EQ(copy(host.data(), b.data(), 16, cudaMemcpyDefault).first, cudaSuccess);
  EXPECT_EQ(host, (std::vector<int>{1, 2, 3, 4, 0, 0, 0, 0}));
  EXPECT_EQ(cudaMemset(b.data() + 1, 0, 8), cudaSuccess);
  EXPECT_EQ(b.get(), (std::vector<int>{1, 0, 0, 4}));
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
}

TEST(Memory, RowsAreCopiedWithTheirPitches) {
  DeviceArray<int> a(std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8});
  std::vector<int> host(6, 0);
  ASSERT_EQ(cudaMemcpy2DAsync(host.data(), 12, a.data(), 16, 8, 2, cudaMemcpyDeviceToHost, nullptr), cudaSuccess);
  EXPECT_EQ(host, (std::vector<int>{1, 2, 0, 5, 6, 0}));
}

__global__ void nothing() {}
__global__ void nothing_either() {}

TEST(Memory, SharedMemoryAbove48KiBMustBeAllowed) {
  constexpr size_t allowed = 100 << 10, limit = 227 << 10;
  EXPECT_EQ(launch(nothing, {1, 32, 48 << 10}), cudaSuccess);
  EXPECT_EQ(launch(nothing, {1, 32, (48 << 10) + 1}), cudaErrorInvalidValue);
  ASSERT_EQ(cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, int(allowed)), cudaSuccess);
  EXPECT_EQ(launch(nothing, {1, 32, allowed}), cudaSuccess);
  EXPECT_EQ(launch(nothing, {1, 32, allowed + 1}), cudaErrorInvalidValue);
  EXPECT_EQ(launch(nothing_either, {1, 32, allowed}), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, int(limit)), cudaSuccess);
  EXPECT_EQ(cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, int(limit) + 1),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
}

TEST(Memory, LaunchesOfImpossibleShapesFail) {
  for (dim3 block : {dim3(1025), dim3(0), dim3(32, 33), dim3(1, 1, 65)})
    EXPECT_EQ(launch(nothing, {1, block}), cudaErrorInvalidConfiguration);
  for (dim3 grid : {dim3(0), dim3(1, 65536), dim3(1, 1, 65536)})
    EXPECT_EQ(launch(nothing, {grid, 32}), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(nothing, {dim3(3, 2), 1024}), cudaSuccess);
  EXPECT_STREQ(cudaGetErrorName(cudaGetLastError()), "cudaErrorInvalidConfiguration");
}

TEST(Memory, TheDeviceSaysWhatItIs) {
  cudaDeviceProp p;
  ASSERT_EQ(cudaGetDeviceProperties(&p, 0), cudaSuccess);
  EXPECT_STREQ(p.name, "emulated");
  int shared = 0, count = 0, device = -1;
  ASSERT_EQ(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), cudaSuccess);
  EXPECT_EQ(size_t(shared), p.sharedMemPerBlockOptin);
  ASSERT_EQ(cudaGetDeviceCount(&count), cudaSuccess);
  ASSERT_EQ(cudaGetDevice(&device), cudaSuccess);
  EXPECT_EQ(count, 1);
  EXPECT_EQ(device, 0);
  EXPECT_EQ(cudaSetDevice(1), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDevice);
}

}  // namespace
}  // namespace viaduct::test
