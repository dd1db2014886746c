#include "train/host_memory.hpp"

#include <sys/resource.h>

#include <algorithm>
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

int64_t kernel_available() {
  std::ifstream file("/proc/meminfo");
  std::string name;
  for (int64_t kib = 0; file >> name >> kib; file.ignore(256, '\n'))
    if (name == "MemAvailable:") return kib * 1024;
  return 0;
}

// Limit minus use of this process's own cgroup, version 2 or 1; what is in the page cache can be taken back.
int64_t cgroup_available() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    std::string path = line.substr(line.rfind(':') + 1);
    bool second = line.starts_with("0::");
    if (!second && line.find(":memory:") == line.npos) continue;
    std::string folder = second ? "/sys/fs/cgroup" + path : "/sys/fs/cgroup/memory" + path;
    int64_t limit = number_in(folder + (second ? "/memory.max" : "/memory.limit_in_bytes"));
    int64_t used = number_in(folder + (second ? "/memory.current" : "/memory.usage_in_bytes"));
    if (limit < 0 || used < 0) continue;
    int64_t cached = 0, bytes = 0;
    std::ifstream stat(folder + "/memory.stat");
    for (std::string name; stat >> name >> bytes;)
      if (name == "inactive_file" || name == "active_file") cached += bytes;
    return std::max<int64_t>(limit - used + std::min(cached, used), 0);
  }
  return INT64_MAX;
}

}  // namespace

int64_t available_memory() { return std::min(kernel_available(), cgroup_available()); }

int64_t peak_memory() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return int64_t(usage.ru_maxrss) * 1024;
}

}  // namespace viaduct
