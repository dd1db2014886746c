#include "core/device/cuda/runtime.hpp"

#include <map>
#include <mutex>

#include "core/device/cuda/check.hpp"

namespace viaduct::cuda {
namespace {

std::string version_text(int v) { return fmt::format("{}.{}", v / 1000, v % 1000 / 10); }

// What allocate() handed out; a few large pieces, so a lock and a search cost nothing.
std::mutex pieces_mutex;
std::map<void*, int64_t> pieces;

cudaStream_t as_stream(void* stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t as_event(void* event) { return static_cast<cudaEvent_t>(event); }

// What to do about a failure of that kind; empty where there is nothing to advise.
const char* remedy(cudaError_t e) {
  switch (e) {
    case cudaErrorMemoryAllocation:
      return "; another program may hold memory of the device (nvidia-smi), or try a smaller train.batch_size";
    case cudaErrorNoKernelImageForDevice:
      return "; this program has no code for this GPU: it needs compute capability 8.0 or newer";
    case cudaErrorInsufficientDriver:
      return "; install a newer NVIDIA driver, or build with an older CUDA toolkit";
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
      return "; this is a defect of Viaduct: run again with CUDA_LAUNCH_BLOCKING=1 and report the message";
    default:
      return "";
  }
}

}  // namespace

void check(cudaError_t e, std::source_location where) {
  if (e == cudaSuccess) return;
  cudaGetLastError();  // so that the next call does not report it again
  fail(Exit::crash, fmt::format("CUDA: {} ({}){}", cudaGetErrorString(e), cudaGetErrorName(e), remedy(e)), where);
}

int device_count(std::string* why) {
  int count = 0;
  cudaError_t e = cudaGetDeviceCount(&count);
  if (e == cudaSuccess && count > 0) return count;
  cudaGetLastError();
  if (why) {
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver), cudaRuntimeGetVersion(&runtime);
    if (driver == 0)
      *why = "no NVIDIA driver was found (nvidia-smi should list the GPU)";
    else if (e == cudaErrorInsufficientDriver)
      *why = fmt::format("the NVIDIA driver serves CUDA {}, this program needs {}: install a newer driver",
                         version_text(driver), version_text(runtime));
    else
      *why = "no GPU is visible (nvidia-smi should list it; CUDA_VISIBLE_DEVICES may hide it)";
  }
  return 0;
}

Gpu device_info(int index) {
  cudaDeviceProp p{};
  check(cudaGetDeviceProperties(&p, index));
  Gpu info{.name = p.name,
           .index = index,
           .major = p.major,
           .minor = p.minor,
           .multiprocessors = p.multiProcessorCount,
           .memory_bytes = int64_t(p.totalGlobalMem),
           .l2_bytes = p.l2CacheSize,
           .shared_bytes_per_block = int64_t(p.sharedMemPerBlockOptin)};
  info.bus = fmt::format("{:04x}:{:02x}:{:02x}", p.pciDomainID, p.pciBusID, p.pciDeviceID);
  int current = 0;
  check(cudaGetDevice(&current));
  check(cudaSetDevice(index));
  size_t free = 0, total = 0;
  cudaError_t said = cudaMemGetInfo(&free, &total);
  check(cudaSetDevice(current));
  check(said);
  info.free_bytes = int64_t(free);
  int driver = 0, runtime = 0;
  check(cudaDriverGetVersion(&driver));
  check(cudaRuntimeGetVersion(&runtime));
  info.driver = version_text(driver), info.runtime = version_text(runtime);
  return info;
}

std::string device_address(int index) {
  cudaDeviceProp p{};
  check(cudaGetDeviceProperties(&p, index));
  return fmt::format("{:04x}:{:02x}:{:02x}.0", p.pciDomainID, p.pciBusID, p.pciDeviceID);
}

void use_device(int index) {
  int major = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index));
  if (major < 8)
    fail(Exit::config, fmt::format("GPU {} has compute capability {}.x; Viaduct needs 8.0 (Ampere) or newer; choose "
                                   "another by CUDA_VISIBLE_DEVICES, or set device.kind = cpu",
                                   index, major));
  check(cudaSetDevice(index));
}

void* allocate(int index, int64_t bytes) {
  use_device(index);
  void* p = nullptr;
  check(cudaMalloc(&p, size_t(bytes)));
  cudaError_t filled = cudaMemset(p, 0, size_t(bytes));
  if (filled != cudaSuccess) release(p);
  check(filled);
  std::lock_guard lock(pieces_mutex);
  pieces[p] = bytes;
  return p;
}

void release(void* p) noexcept {
  {
    std::lock_guard lock(pieces_mutex);
    pieces.erase(p);
  }
  cudaFree(p);
}

int64_t allocated_bytes() {
  std::lock_guard lock(pieces_mutex);
  int64_t sum = 0;
  for (const auto& [p, bytes] : pieces) sum += bytes;
  return sum;
}

void* allocate_pinned(int64_t bytes) {
  void* p = nullptr;
  check(cudaMallocHost(&p, size_t(bytes)));
  return p;
}

void release_pinned(void* p) noexcept { cudaFreeHost(p); }

void* new_stream(int index) {
  use_device(index);
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return stream;
}

void delete_stream(void* stream) noexcept { cudaStreamDestroy(as_stream(stream)); }

void synchronize(void* stream) { check(cudaStreamSynchronize(as_stream(stream))); }

void* new_event(int index) {
  use_device(index);
  cudaEvent_t event = nullptr;
  check(cudaEventCreate(&event));
  return event;
}

void wait_stream(void* later, void* earlier) {
  cudaEvent_t reached = nullptr;
  check(cudaEventCreateWithFlags(&reached, cudaEventDisableTiming));
  cudaError_t error = cudaEventRecord(reached, as_stream(earlier));
  if (error == cudaSuccess) error = cudaStreamWaitEvent(as_stream(later), reached, 0);
  cudaEventDestroy(reached);  // once it has been reached
  check(error);
}

void delete_event(void* event) noexcept { cudaEventDestroy(as_event(event)); }

void record_event(void* event, void* stream) { check(cudaEventRecord(as_event(event), as_stream(stream))); }

double seconds_between(void* start, void* stop) {
  check(cudaEventSynchronize(as_event(stop)));
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, as_event(start), as_event(stop)));
  return double(milliseconds) * 1e-3;
}

void copy(void* to, const void* from, int64_t bytes, void* stream) {
  check(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyDefault, as_stream(stream)));
}

void fill_zero(void* device, int64_t bytes, void* stream) {
  check(cudaMemsetAsync(device, 0, size_t(bytes), as_stream(stream)));
}

void* record(void* stream, const std::function<void()>& work) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamBeginCapture(as_stream(stream), cudaStreamCaptureModeThreadLocal));
  try {
    work();
  } catch (...) {
    cudaStreamEndCapture(as_stream(stream), &graph);
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  check(cudaStreamEndCapture(as_stream(stream), &graph));
  cudaGraphExec_t exec = nullptr;
  cudaError_t made = cudaGraphInstantiate(&exec, graph, 0);
  cudaGraphDestroy(graph);
  check(made);
  return exec;
}

void launch(void* graph, void* stream) {
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), as_stream(stream)));
}

void delete_graph(void* graph) noexcept { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)); }

}  // namespace viaduct::cuda
