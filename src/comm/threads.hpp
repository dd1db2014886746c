// Threads per rank: the cores that the node allows, divided by the ranks that share them.
#pragma once
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/mpi_world.hpp"
#include "comm/rank_places.hpp"

namespace viaduct {

struct ThreadShare {
  std::vector<int> cpus;         // logical processors (of /proc/cpuinfo) of this rank; oversubscribed ranks share all
  int threads = 1;               // physical cores among them, never above the cgroup's CPU quota
  std::string bound_by;          // the setting that has bound this rank; empty: Viaduct has
  std::vector<RankPlace> ranks;  // of all ranks, but for their GPUs
};

// Binds this rank to its share and sets the number of OpenMP threads. What mpirun bound to one core by default is bound
// anew; a binding that the user asked for stays. Threads created later (communication, loader workers) inherit the
// share.
ThreadShare settle_threads(const World&, Communicator&);

// The arithmetic behind it, for tests.
struct Cpu {
  int id = 0, core = 0;  // hyper-threads of one core have the same `core`
  bool operator==(const Cpu&) const = default;
};
// The numbers of the cores, each once.
std::vector<int> cores_of(const std::vector<Cpu>&);
std::vector<Cpu> share_of(const std::vector<Cpu>& pool, int index, int ranks);
int threads_for(const std::vector<Cpu>& share, const std::vector<Cpu>& pool, int ranks, double quota_cpus);
std::vector<int> parse_cpu_list(const std::string&);  // "0-3,8" as the kernel writes it
std::string format_cpu_list(const std::vector<int>&);

}  // namespace viaduct
