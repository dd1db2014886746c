#include "comm/threads.hpp"

#include <hwloc.h>
#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "core/base/log.hpp"
#include "core/base/range.hpp"

namespace viaduct {
namespace {

constexpr int kMaxCpus = 8192;

struct CpuMask {  // a cpu_set_t that is not limited to 1024 processors
  CpuMask() : set(CPU_ALLOC(kMaxCpus)) { CPU_ZERO_S(bytes, set); }
  CpuMask(const CpuMask&) = delete;
  ~CpuMask() { CPU_FREE(set); }
  cpu_set_t* set;
  size_t bytes = CPU_ALLOC_SIZE(kMaxCpus);
};

std::vector<int> own_cpus() {
  CpuMask mask;
  expect(::sched_getaffinity(0, mask.bytes, mask.set) == 0, "sched_getaffinity answers");
  std::vector<int> cpus;
  for (int i = 0; i < kMaxCpus; ++i)
    if (CPU_ISSET_S(size_t(i), mask.bytes, mask.set)) cpus.push_back(i);
  return cpus;
}

// Every thread of the process: MPI has started some, and what they create later inherits from them.
bool bind_process(const std::vector<int>& cpus) {
  CpuMask mask;
  for (int cpu : cpus) CPU_SET_S(size_t(cpu), mask.bytes, mask.set);
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task"))
    if (::sched_setaffinity(std::atoi(task.path().filename().c_str()), mask.bytes, mask.set) != 0 && errno != ESRCH)
      return false;
  return true;
}

bool is_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value && *value;
}

// The variable that says so; empty: nobody did, or nothing but mpirun's default.
std::string chosen_binding() {
  for (const char* name : {"OMPI_MCA_hwloc_base_binding_policy", "OMPI_MCA_rmaps_base_mapping_policy",
                           "SLURM_CPU_BIND_TYPE", "OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY"})
    if (is_set(name)) return name;
  return {};
}

// What this rank may use before it is divided: its own affinity, or its launcher's where mpirun bound the rank by
// default.
std::vector<int> allowed_cpus() {
  if (is_set("OMPI_COMM_WORLD_LOCAL_RANK") && chosen_binding().empty()) {
    std::ifstream status(fmt::format("/proc/{}/status", ::getppid()));
    for (std::string line; std::getline(status, line);)
      if (constexpr std::string_view key = "Cpus_allowed_list:"; line.starts_with(key)) {
        auto cpus = parse_cpu_list(line.substr(key.size()));
        // The kernel cuts it to this process's cgroup; if nothing is left, the rank keeps what it has.
        if (!cpus.empty() && bind_process(cpus)) break;
      }
  }
  return own_cpus();
}

struct Topology {
  std::vector<Cpu> pool;  // in hwloc's order, in which neighbours share a core, then a cache, then a memory node
  int cores = 0;          // of the host, as far as this process's cgroup goes
};

Topology with_cores(const std::vector<int>& cpus) {
  hwloc_topology_t topology;
  expect(hwloc_topology_init(&topology) == 0, "hwloc starts");
  auto [pool, cores] = Topology{};
  if (hwloc_topology_load(topology) == 0) {
    cores = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE);
    for (int i = 0, n = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PU); i < n; ++i) {
      hwloc_obj_t pu = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PU, unsigned(i));
      hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_CORE, pu);
      if (std::find(cpus.begin(), cpus.end(), int(pu->os_index)) != cpus.end())
        pool.push_back({int(pu->os_index), core ? int(core->logical_index) : i});
    }
  }
  hwloc_topology_destroy(topology);
  if (pool.size() != cpus.size()) {  // a container may hide the topology
    pool.clear();
    for (int cpu : cpus) pool.push_back({cpu, cpu});
  }
  return {pool, std::max(cores, int(cores_of(pool).size()))};
}

// CPUs' worth of time that the cgroup grants; 0: no limit. Version 2 has "max 100000" or "150000 100000" in cpu.max,
// version 1 two files. Inside a container its own group is mounted at the root.
double cgroup_quota() {
  double smallest = 0;
  auto limit = [&](double quota, double period) {
    if (quota > 0 && period > 0 && (smallest == 0 || quota / period < smallest)) smallest = quota / period;
  };
  auto number = [](const std::string& path) {
    double value = 0;
    std::ifstream(path) >> value;
    return value;
  };
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (!line.starts_with("0::")) continue;
    for (std::filesystem::path group = line.substr(3);; group = group.parent_path()) {
      double quota = 0, period = 0;
      std::ifstream("/sys/fs/cgroup" + group.string() + "/cpu.max") >> quota >> period;
      limit(quota, period);
      if (!group.has_relative_path()) break;
    }
  }
  limit(number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), number("/sys/fs/cgroup/cpu/cpu.cfs_period_us"));
  return smallest;
}

}  // namespace

std::vector<int> cores_of(const std::vector<Cpu>& cpus) {
  std::vector<int> cores;
  for (const Cpu& cpu : cpus)
    if (std::find(cores.begin(), cores.end(), cpu.core) == cores.end()) cores.push_back(cpu.core);
  return cores;
}

std::vector<Cpu> share_of(const std::vector<Cpu>& pool, int index, int ranks) {
  const std::vector<int> cores = cores_of(pool);
  if (int(cores.size()) < ranks) return pool;
  Range part = split_evenly(int64_t(cores.size()), index, ranks);
  std::vector<Cpu> share;
  for (const Cpu& cpu : pool) {
    auto core = std::find(cores.begin(), cores.end(), cpu.core) - cores.begin();
    if (core >= part.begin && core < part.end) share.push_back(cpu);
  }
  return share;
}

int threads_for(const std::vector<Cpu>& share, const std::vector<Cpu>& pool, int ranks, double quota_cpus) {
  int threads = int(cores_of(pool).size()) < ranks ? 1 : int(cores_of(share).size());
  if (quota_cpus > 0) threads = std::min(threads, int(std::ceil(quota_cpus / ranks)));
  return std::max(1, threads);
}

std::vector<int> parse_cpu_list(const std::string& text) {
  std::vector<int> cpus;
  std::istringstream in(text);
  for (std::string item; std::getline(in, item, ',');) {
    int first = 0, last = 0;
    int found = std::sscanf(item.c_str(), "%d-%d", &first, &last);
    if (found < 1) continue;
    if (found == 1) last = first;
    for (int cpu = std::max(0, first); cpu <= std::min(last, kMaxCpus - 1); ++cpu) cpus.push_back(cpu);
  }
  return cpus;
}

std::string format_cpu_list(const std::vector<int>& cpus) {
  std::vector<int> sorted = cpus;
  std::sort(sorted.begin(), sorted.end());
  std::string text;
  for (size_t i = 0, j; i < sorted.size(); i = j) {
    for (j = i + 1; j < sorted.size() && sorted[j] == sorted[j - 1] + 1; ++j) {
    }
    text += text.empty() ? "" : ",";
    text += j - i == 1 ? fmt::format("{}", sorted[i]) : fmt::format("{}-{}", sorted[i], sorted[j - 1]);
  }
  return text;
}

ThreadShare settle_threads(const World& world, Communicator& comm) {
  const std::vector<int> cpus = allowed_cpus();
  const std::string mine = world.host + '\n' + format_cpu_list(cpus);
  const auto pools = comm.all_gather_text(mine);  // ranks of one host with the same pool divide it
  const int ranks = int(std::count(pools.begin(), pools.end(), mine));
  const int index = int(std::count(pools.begin(), pools.begin() + world.rank, mine));

  const auto [pool, host_cores] = with_cores(cpus);
  const std::vector<Cpu> share = share_of(pool, index, ranks);
  ThreadShare settled{.bound_by = chosen_binding()};
  const bool bind = settled.bound_by.empty();
  const std::vector<Cpu>& used = bind ? share : pool;
  for (const Cpu& cpu : used) settled.cpus.push_back(cpu.id);
  if (bind && !bind_process(settled.cpus))
    log::warn("could not bind to cores {}: {}", format_cpu_list(settled.cpus), std::strerror(errno));
  const double quota = cgroup_quota();
  settled.threads = is_set("OMP_NUM_THREADS") ? omp_get_max_threads() : threads_for(share, pool, ranks, quota);
  omp_set_num_threads(settled.threads);

  const int granted = quota > 0 ? std::min(host_cores, int(std::ceil(quota))) : host_cores;
  for (const std::string& text :
       comm.all_gather_text(fmt::format("{} {} {} {} {}", world.host, settled.threads, granted,
                                        format_cpu_list(settled.cpus), format_cpu_list(cores_of(used))))) {
    RankPlace& place = settled.ranks.emplace_back();
    std::string cores;
    std::istringstream(text) >> place.host >> place.threads >> place.host_cores >> place.cpus >> cores;
    place.cores = parse_cpu_list(cores);
  }
  return settled;
}

}  // namespace viaduct
