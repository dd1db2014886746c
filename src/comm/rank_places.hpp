// Where the ranks of a run are, and what each may use.
#pragma once
#include <string>
#include <vector>

namespace viaduct {

struct RankPlace {
  std::string host;
  std::string cpus;        // logical processors, as the kernel writes them: "0-3"
  std::vector<int> cores;  // physical ones, numbered by the host
  int threads = 1;
  int host_cores = 1;             // that the host grants to all its ranks together
  std::vector<std::string> gpus;  // that it sees, by their addresses on the bus
  int host_gpus = 0;              // of the host, seen or not
};

struct HostPlaces {
  std::string host;
  std::vector<const RankPlace*> ranks;
  int count() const { return int(ranks.size()); }
};
std::vector<HostPlaces> by_host(const std::vector<RankPlace>&);  // in the order of their first ranks

std::string ranks_on(int ranks, const std::string& host);  // "2 ranks on vm"

// "2 ranks on vm: 1 thread each, cores 0 / 1", hosts that are alike together: for the start of the log.
std::string describe(const std::vector<RankPlace>&);

}  // namespace viaduct
