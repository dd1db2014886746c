// The stand-in CUDA runtime: what its parts share. One device, whose memory is the host's; work is done at once on the
// calling thread, or where EMULATION_STREAMS=late only when something waits for it, which finds missing waits.
#pragma once
#include <functional>
#include <string>

#include "cuda_runtime.h"

namespace emulation {

using Work = std::function<void()>;

// What every API function returns through: errors are remembered for cudaGetLastError.
cudaError_t result(cudaError_t);
[[noreturn]] void die(const std::string& report);
void complain(const std::string& problem);  // says on stderr what an error code cannot

// Does the work in the stream's order, or records it while the stream captures.
cudaError_t submit(cudaStream_t, Work);
void finish_everything();
// cudaSuccess, or the error of a call that captures under way forbid (which it invalidates).
cudaError_t forbidden_while_capturing();

bool is_device_memory(const void*);
// Ends the program if something has written around an allocation; `when` completes the report.
void check_guards(const char* when);

constexpr size_t kDeviceBytes = size_t(4) << 30;
constexpr size_t kSharedDefault = 48 << 10, kSharedOptin = 227 << 10, kSharedPerMultiprocessor = 228 << 10;

}  // namespace emulation
