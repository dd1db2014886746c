#include "train/host_memory.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

namespace viaduct {
namespace {

// The whole number that the file begins with; "max" and absent files give -1.
int64_t number_in(const std::string& path) {
  std::ifstream file(path);
  int64_t value = -1;
  return file >> value ? value : -1;
}

std::optional<int64_t> kernel_available(const std::string& root) {
  std::ifstream file(root + "/proc/meminfo");
  std::string name;
  for (int64_t kib = 0; file >> name >> kib; file.ignore(256, '\n'))
    if (name == "MemAvailable:") return kib * 1024;
  return {};
}

// Limit minus use of one cgroup, version 2 or 1; what is in the page cache can be taken back.
std::optional<int64_t> left_in(const std::string& folder, bool second) {
  int64_t limit = number_in(folder + (second ? "/memory.max" : "/memory.limit_in_bytes"));
  int64_t used = number_in(folder + (second ? "/memory.current" : "/memory.usage_in_bytes"));
  if (limit < 0 || used < 0) return {};
  int64_t cached = 0, bytes = 0;
  std::ifstream stat(folder + "/memory.stat");
  std::string active = second ? "active_file" : "total_active_file";  // with the groups below
  for (std::string name; stat >> name >> bytes;)
    if (name == active || name == (second ? "inactive_file" : "total_inactive_file")) cached += bytes;
  return std::max<int64_t>(limit - used + std::min(cached, used), 0);
}

}  // namespace

std::optional<int64_t> available_memory(const std::string& root) {
  auto least = kernel_available(root);
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    bool second = line.starts_with("0::");
    if (!second && line.find(":memory:") == line.npos) continue;
    std::string mount = root + "/sys/fs/cgroup" + (second ? "" : "/memory");
    for (std::filesystem::path group = line.substr(line.rfind(':') + 1);; group = group.parent_path()) {
      if (auto left = left_in(mount + group.string(), second)) least = std::min(least.value_or(*left), *left);
      if (!group.has_relative_path()) break;
    }
  }
  return least;
}

int64_t peak_memory() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return int64_t(usage.ru_maxrss) * 1024;
}

}  // namespace viaduct
