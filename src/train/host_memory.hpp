#pragma once
#include <cstdint>

namespace viaduct {

// Bytes that this process could still allocate: what the kernel calls available, under the limits of its cgroups.
// 0: unknown.
int64_t available_memory();

// The most that this process ever held, in bytes.
int64_t peak_memory();

}  // namespace viaduct
