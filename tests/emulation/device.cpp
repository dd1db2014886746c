// The made-up device, errors and launches.
#include "device.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "fibers.hpp"

namespace emulation {
namespace {

thread_local cudaError_t last_error = cudaSuccess;

struct Attributes {
  std::mutex mutex;
  std::map<const void*, size_t> shared_allowed;
};
Attributes& attributes() {
  static auto* a = new Attributes;
  return *a;
}

bool is_launchable(const cudaLaunchConfig_t& c) {
  dim3 g = c.gridDim, b = c.blockDim;
  return g.x && g.y && g.z && b.x && b.y && b.z && g.x <= 0x7fffffff && g.y <= 65535 && g.z <= 65535 && b.x <= 1024 &&
         b.y <= 1024 && b.z <= 64 && uint64_t(b.x) * b.y * b.z <= uint64_t(kMaxThreads);
}

size_t shared_allowed(const void* kernel) {
  std::lock_guard lock(attributes().mutex);
  auto found = attributes().shared_allowed.find(kernel);
  return found == attributes().shared_allowed.end() ? kSharedDefault : std::max(found->second, kSharedDefault);
}

struct ErrorText {
  cudaError_t error;
  const char *name, *text;
};
constexpr ErrorText kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice",
     "no kernel image is available for execution on the device"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureMerge, "cudaErrorStreamCaptureMerge",
     "operation would result in a merge of separate capture sequences"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched",
     "capture was not ended in the same stream as it began"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
     "dependency created on uncaptured work in another stream"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
    {cudaErrorStreamCaptureWrongThread, "cudaErrorStreamCaptureWrongThread",
     "attempt to terminate a thread-local capture sequence from another thread"},
};
const ErrorText* find_error(cudaError_t e) {
  auto* found = std::find_if(std::begin(kErrors), std::end(kErrors), [&](const ErrorText& t) { return t.error == e; });
  return found == std::end(kErrors) ? nullptr : found;
}

}  // namespace

cudaError_t result(cudaError_t e) {
  if (e != cudaSuccess) last_error = e;
  return e;
}
void complain(const std::string& problem) { std::fprintf(stderr, "emulation: %s\n", problem.c_str()); }
void die(const std::string& report) {
  complain(report);
  std::abort();
}

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> thread) {
  if (!is_launchable(config)) return result(cudaErrorInvalidConfiguration);
  if (config.dynamicSmemBytes > shared_allowed(kernel)) return result(cudaErrorInvalidValue);
  if (config.numAttrs) return result(cudaErrorNotSupported);
  return result(submit(config.stream, [grid = config.gridDim, block = config.blockDim, shared = config.dynamicSmemBytes,
                                       thread = std::move(thread)] {
    run_grid(grid, block, shared, thread);
    check_guards("after a kernel");
  }));
}

cudaError_t set_attribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (!kernel) return result(cudaErrorInvalidValue);
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return result(cudaSuccess);
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || size_t(value) > kSharedOptin)
    return result(cudaErrorInvalidValue);
  std::lock_guard lock(attributes().mutex);
  attributes().shared_allowed[kernel] = size_t(value);
  return result(cudaSuccess);
}

cudaError_t active_blocks(int* count, int block_size, size_t shared) {
  if (!count || block_size <= 0) return result(cudaErrorInvalidValue);
  constexpr size_t reserved = 1024;
  int by_shared = int(kSharedPerMultiprocessor / (shared + reserved));
  *count = block_size > kMaxThreads || shared > kSharedOptin ? 0 : std::min({32, 2048 / block_size, by_shared});
  return result(cudaSuccess);
}

}  // namespace emulation

using namespace emulation;

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }
const char* cudaGetErrorString(cudaError_t e) {
  return find_error(e) ? find_error(e)->text : "unrecognized error code";
}
const char* cudaGetErrorName(cudaError_t e) { return find_error(e) ? find_error(e)->name : "unrecognized error code"; }

cudaError_t cudaDriverGetVersion(int* v) { return *v = 13000, result(cudaSuccess); }
cudaError_t cudaRuntimeGetVersion(int* v) { return *v = 13000, result(cudaSuccess); }
cudaError_t cudaGetDeviceCount(int* n) { return *n = 1, result(cudaSuccess); }
cudaError_t cudaSetDevice(int device) { return result(device ? cudaErrorInvalidDevice : cudaSuccess); }
cudaError_t cudaGetDevice(int* device) { return *device = 0, result(cudaSuccess); }

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (device) return result(cudaErrorInvalidDevice);
  *p = {};
  std::strcpy(p->name, "emulated");
  p->totalGlobalMem = kDeviceBytes;
  p->sharedMemPerBlock = kSharedDefault, p->sharedMemPerBlockOptin = kSharedOptin;
  p->sharedMemPerMultiprocessor = kSharedPerMultiprocessor, p->reservedSharedMemPerBlock = 1024;
  p->major = 9, p->minor = 0, p->warpSize = kWarpSize, p->multiProcessorCount = 132;
  p->maxThreadsPerBlock = kMaxThreads, p->maxThreadsPerMultiProcessor = 2048;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->l2CacheSize = 50 << 20, p->memoryBusWidth = 5120;
  return result(cudaSuccess);
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp p;
  if (auto e = cudaGetDeviceProperties(&p, device)) return e;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      return *value = p.maxThreadsPerBlock, cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return *value = int(p.sharedMemPerBlock), cudaSuccess;
    case cudaDevAttrWarpSize:
      return *value = p.warpSize, cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      return *value = p.multiProcessorCount, cudaSuccess;
    case cudaDevAttrL2CacheSize:
      return *value = p.l2CacheSize, cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      return *value = p.major, cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      return *value = p.minor, cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      return *value = int(p.sharedMemPerMultiprocessor), cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return *value = int(p.sharedMemPerBlockOptin), cudaSuccess;
  }
  return result(cudaErrorInvalidValue);
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int length, int device) {
  if (device) return result(cudaErrorInvalidDevice);
  return std::snprintf(text, size_t(length), "0000:00:00.0"), result(cudaSuccess);
}
