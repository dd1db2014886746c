#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace viaduct {

// Bytes that this process could still allocate: what the kernel calls available, under the limits of its cgroup and of
// those above it. None: unknown. `root`: where /proc and /sys are, for tests.
std::optional<int64_t> available_memory(const std::string& root = "");

// The most that this process ever held, in bytes.
int64_t peak_memory();

}  // namespace viaduct
