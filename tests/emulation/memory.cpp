// Device and pinned memory. It starts as NaN and lies between guard zones, looked at after every kernel and at the end.
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "device.hpp"
#include "sanitizers.hpp"

namespace emulation {
namespace {

constexpr size_t kPage = 4096;  // in front of an allocation; behind it, what is left of its last page and one more
constexpr size_t kCheckedGuard = 256;
constexpr unsigned char kUninitialised = 0xff, kGuard = 0xcb;

struct Allocation {
  size_t bytes;
  bool device;
  char* mapping(void* p) const { return static_cast<char*>(p) - kPage; }
  size_t mapped() const { return kPage + (bytes + kPage - 1) / kPage * kPage + kPage; }
};

struct Memory {
  std::mutex mutex;
  std::map<void*, Allocation> allocations;
  size_t device_bytes = 0;
};
Memory& memory() {
  static auto* m = new Memory;  // outlives whatever frees memory at exit
  return *m;
}

std::string describe(const void* p, const Allocation& a) {
  char text[96];
  std::snprintf(text, sizeof text, "%zu bytes of %s memory at %p", a.bytes, a.device ? "device" : "pinned", p);
  return text;
}

void check_guard(void* p, const Allocation& a, const char* when) {
  if (__asan_poison_memory_region) return;  // AddressSanitizer watches the zones itself
  auto* begin = static_cast<unsigned char*>(p);
  auto written = [&](unsigned char* from, unsigned char* to) {
    auto* w = std::find_if(from, to, [](unsigned char c) { return c != kGuard; });
    if (w == to) return;
    die("something has written to byte " + std::to_string(w - begin) + " of " + describe(p, a) + " (seen " + when +
        ")");
  };
  written(begin - kCheckedGuard, begin);
  written(begin + a.bytes, begin + a.bytes + kCheckedGuard);
}

cudaError_t allocate(void** p, size_t bytes, bool device) {
  if (!p) return cudaErrorInvalidValue;
  *p = nullptr;
  if (auto e = forbidden_while_capturing()) return e;
  if (!bytes) return cudaSuccess;
  Memory& m = memory();
  std::lock_guard lock(m.mutex);
  if (device && bytes > kDeviceBytes - m.device_bytes) return cudaErrorMemoryAllocation;
  Allocation a{bytes, device};
  void* mapping = mmap(nullptr, a.mapped(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return cudaErrorMemoryAllocation;
  char* begin = static_cast<char*>(mapping) + kPage;
  std::memset(begin - kCheckedGuard, kGuard, kCheckedGuard);
  std::memset(begin, kUninitialised, bytes);
  std::memset(begin + bytes, kGuard, kCheckedGuard);
  poison(mapping, kPage);
  poison(begin + bytes, a.mapped() - kPage - bytes);
  m.allocations.emplace(begin, a);
  if (device) m.device_bytes += bytes;
  *p = begin;
  return cudaSuccess;
}

cudaError_t deallocate(void* p, bool device) {
  if (auto e = forbidden_while_capturing()) return e;
  if (!p) return cudaSuccess;
  finish_everything();
  Memory& m = memory();
  std::lock_guard lock(m.mutex);
  auto found = m.allocations.find(p);
  if (found == m.allocations.end() || found->second.device != device) {
    complain(device ? "cudaFree of what cudaMalloc has not given"
                    : "cudaFreeHost of what cudaMallocHost has not given");
    return cudaErrorInvalidValue;
  }
  Allocation a = found->second;
  check_guard(p, a, "when it was freed");
  unpoison(a.mapping(p), a.mapped());
  munmap(a.mapping(p), a.mapped());
  if (device) m.device_bytes -= a.bytes;
  m.allocations.erase(found);
  return cudaSuccess;
}

// The allocation that holds p, or null.
const std::pair<void* const, Allocation>* holder(const void* p) {
  auto& all = memory().allocations;
  auto after = all.upper_bound(const_cast<void*>(p));
  if (after == all.begin()) return nullptr;
  const auto& candidate = *std::prev(after);
  return static_cast<const char*>(p) < static_cast<const char*>(candidate.first) + candidate.second.bytes ? &candidate
                                                                                                          : nullptr;
}

// Is [p, p + bytes) as it should be: inside one allocation of the device, or none of it on the device?
bool lies(const void* p, size_t bytes, bool on_device, const char* what) {
  std::lock_guard lock(memory().mutex);
  auto* h = holder(p);
  bool found_on_device = h && h->second.device;
  if (found_on_device != on_device) {
    complain(std::string(what) + (on_device ? " is not device memory" : " is device memory, expected the host's"));
    return false;
  }
  if (h && static_cast<const char*>(p) + bytes > static_cast<char*>(h->first) + h->second.bytes) {
    complain(std::to_string(bytes) + " bytes of " + what + " reach beyond " + describe(h->first, h->second));
    return false;
  }
  return true;
}

bool ends_lie(const void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (kind == cudaMemcpyDefault) to_device = is_device_memory(to), from_device = is_device_memory(from);
  return lies(to, bytes, to_device, "the destination of a copy") &&
         lies(from, bytes, from_device, "the source of a copy");
}

bool is_pageable(const void* p) {
  std::lock_guard lock(memory().mutex);
  return !holder(p);
}

}  // namespace

bool is_device_memory(const void* p) {
  std::lock_guard lock(memory().mutex);
  auto* h = holder(p);
  return h && h->second.device;
}

void require_on_device(const void* p, int64_t bytes, const char* what) {
  if (!lies(p, size_t(bytes), true, what)) die(std::string("a GPU would fail, or worse, at ") + what);
}

void check_guards(const char* when) {
  std::lock_guard lock(memory().mutex);
  for (auto& [p, a] : memory().allocations)
    if (a.device) check_guard(p, a, when);
}

std::string leaks() {
  std::string lines;
  std::lock_guard lock(memory().mutex);
  for (auto& [p, a] : memory().allocations) lines += describe(p, a) + "\n";
  return lines;
}

}  // namespace emulation

using namespace emulation;

cudaError_t cudaMalloc(void** p, size_t bytes) { return result(allocate(p, bytes, true)); }
cudaError_t cudaFree(void* p) { return result(deallocate(p, true)); }
cudaError_t cudaMallocHost(void** p, size_t bytes) { return result(allocate(p, bytes, false)); }
cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned) { return result(allocate(p, bytes, false)); }
cudaError_t cudaFreeHost(void* p) { return result(deallocate(p, false)); }

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  std::lock_guard lock(memory().mutex);
  *total = kDeviceBytes, *free = kDeviceBytes - memory().device_bytes;
  return result(cudaSuccess);
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t pitch, const void* from, size_t source_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  if (!width || !height) return result(cudaSuccess);
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault) return result(cudaErrorInvalidMemcpyDirection);
  if (pitch < width || source_pitch < width) return result(cudaErrorInvalidValue);
  for (size_t last : {size_t(0), height - 1})
    if (!ends_lie(static_cast<char*>(to) + last * pitch, static_cast<const char*>(from) + last * source_pitch, width,
                  kind))
      return result(cudaErrorInvalidValue);
  auto rows = [=](const void* source, size_t distance) {
    for (size_t i = 0; i < height; ++i)
      std::memmove(static_cast<char*>(to) + i * pitch, static_cast<const char*>(source) + i * distance, width);
  };
  if (is_capturing(stream)) return result(submit(stream, [=] { rows(from, source_pitch); }));
  if (is_pageable(from)) {  // is read by the call itself
    auto* begin = static_cast<const char*>(from);
    std::vector<char> staged(begin, begin + (height - 1) * source_pitch + width);
    return result(submit(stream, [=] { rows(staged.data(), source_pitch); }));
  }
  cudaError_t e = submit(stream, [=] { rows(from, source_pitch); });
  if (is_pageable(to)) finish(stream);  // is written by the call itself
  return result(e);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (auto e = forbidden_while_capturing()) return result(e == cudaSuccess ? e : cudaErrorStreamCaptureImplicit);
  finish_everything();
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  if (!bytes) return result(cudaSuccess);
  if (!lies(to, bytes, true, "the destination of a memset")) return result(cudaErrorInvalidValue);
  return result(submit(stream, [=] { std::memset(to, value, bytes); }));
}

cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  if (auto e = forbidden_while_capturing()) return result(e == cudaSuccess ? e : cudaErrorStreamCaptureImplicit);
  finish_everything();
  return cudaMemsetAsync(to, value, bytes, nullptr);
}
