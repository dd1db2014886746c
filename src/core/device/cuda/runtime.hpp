// The CUDA runtime as the rest of core/device needs it, without its headers. kBuilt says whether this program was built
// with it; without, nothing else here may be called but fail_not_built.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "core/base/check.hpp"
#include "core/device/gpus.hpp"

namespace viaduct::cuda {

inline constexpr bool kBuilt = VIADUCT_CUDA;

inline constexpr const char* kNotBuilt =
    "this program was built without CUDA (build it where nvcc is on PATH or in CUDA_HOME)";
[[noreturn]] inline void fail_not_built() {
  fail(Exit::config, fmt::format("{}; or set device.kind = cpu", kNotBuilt));
}

// How many devices can be used. 0 with the reason in `why`: no driver, a driver that is too old, no device.
int device_count(std::string* why = nullptr);
Gpu device_info(int index);
std::string device_address(int index);  // domain:bus:device.function; takes no memory of the device
// Makes `index` this thread's device; throws a sentence where this program has no code for it.
void use_device(int index);

void* allocate(int index, int64_t bytes);  // zero-filled
void release(void*) noexcept;
void* allocate_pinned(int64_t bytes);  // host memory that copies to a device read directly
void release_pinned(void*) noexcept;

void* new_stream(int index);
void delete_stream(void*) noexcept;
void synchronize(void* stream);
void wait_stream(void* later, void* earlier);  // later work of the one waits for what the other has been given

// Points in the work of a stream of that device, with the time at which it came there.
void* new_event(int index);
void delete_event(void*) noexcept;
void record_event(void* event, void* stream);
double seconds_between(void* start, void* stop);  // waits for `stop`

void copy(void* to, const void* from, int64_t bytes, void* stream);  // between any two of host and device, in order
void fill_zero(void* device, int64_t bytes, void* stream);

// A CUDA graph of what `work` does on the stream, ready to launch; `work` runs once, recorded and not executed.
void* record(void* stream, const std::function<void()>& work);
void launch(void* graph, void* stream);
void delete_graph(void* graph) noexcept;

int64_t allocated_bytes();  // by allocate() and not yet released, by this process

}  // namespace viaduct::cuda
