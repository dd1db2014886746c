#include "comm/launch_faults.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "comm/threads.hpp"

namespace viaduct {
namespace {

int threads_of(const HostPlaces& host) {
  return std::accumulate(host.ranks.begin(), host.ranks.end(), 0,
                         [](int n, const RankPlace* r) { return n + r->threads; });
}

std::vector<int> cores_of(const HostPlaces& host) {
  std::set<int> all;
  for (const RankPlace* rank : host.ranks) all.insert(rank->cores.begin(), rank->cores.end());
  return {all.begin(), all.end()};
}

std::set<std::string> gpus_of(const HostPlaces& host) {
  std::set<std::string> all;
  for (const RankPlace* rank : host.ranks) all.insert(rank->gpus.begin(), rank->gpus.end());
  return all;
}

// The line that starts `ranks` on every host of this run.
class Instead {
 public:
  Instead(const std::vector<HostPlaces>& hosts, const LaunchLine& line) : hosts_(hosts), line_(line) {}

  struct More {
    std::string before, srun, program;  // of the line, of srun's options, of the program's arguments
  };
  std::string start(int ranks, int cores, const More& more = {}) const {       // cores: of a rank
    if (line_.launcher.empty()) return "\n  " + line_.program + more.program;  // one rank
    if (line_.launcher == "srun")
      return fmt::format("\n  {}srun --mpi=pmix --nodes={} --ntasks-per-node={} --cpus-per-task={}{} {}{}", more.before,
                         hosts_.size(), ranks, std::max(1, cores * threads_per_core()), more.srun, line_.program,
                         more.program);
    std::string where = fmt::format("-np {}", ranks);
    if (hosts_.size() > 1) {
      where = "--host ";
      for (const auto& host : hosts_) where += fmt::format("{}{}:{}", &host == &hosts_[0] ? "" : ",", host.host, ranks);
    }
    return fmt::format("\n  {}mpirun {} {}{}", more.before, where, line_.program, more.program);
  }

 private:
  // srun counts these, not cores.
  int threads_per_core() const {
    const RankPlace& place = *hosts_[0].ranks[0];
    return std::max(1, int(parse_cpu_list(place.cpus).size() / std::max<size_t>(1, place.cores.size())));
  }

  const std::vector<HostPlaces>& hosts_;
  const LaunchLine& line_;
};

std::string fault_of_cores(const HostPlaces& host, const Instead& instead) {
  const std::vector<int> cores = cores_of(host);
  const int ranks = host.count(), granted = host.ranks[0]->host_cores;
  const int usable = std::min(int(cores.size()), granted);
  if (threads_of(host) <= usable) return {};
  if (ranks > granted)
    return fmt::format("{} take turns on {} core{}: start as many as there are cores:", ranks_on(ranks, host.host),
                       granted, granted == 1 ? "" : "s") +
           instead.start(granted, 1);
  if (ranks > usable)
    return fmt::format(
               "{} may run on {} of its {} cores only (core {}): start them without an option, a setting or a "
               "taskset that binds them there:",
               ranks_on(ranks, host.host), usable, granted, format_cpu_list(cores)) +
           instead.start(ranks, granted / ranks);
  return fmt::format("{}: {} threads take turns on {} core{}; give each rank as many as its share has:",
                     ranks_on(ranks, host.host), threads_of(host), usable, usable == 1 ? "" : "s") +
         instead.start(ranks, usable / ranks, {.program = fmt::format(" --device.threads {}", usable / ranks)});
}

std::string fault_of_gpus(const HostPlaces& host, const Instead& instead) {
  const std::set<std::string> gpus = gpus_of(host);
  const int seen = int(gpus.size()), ranks = host.count();
  if (seen == 0 || seen >= ranks) return {};
  std::string said = fmt::format("{} see {} GPU{} ({})", ranks_on(ranks, host.host), seen, seen == 1 ? "" : "s",
                                 fmt::format("{}", fmt::join(gpus, ", ")));
  if (host.ranks[0]->host_gpus < ranks)
    return said + ": start one rank for each, or set device.kind = cpu:" +
           instead.start(seen, host.ranks[0]->host_cores / seen, {.srun = fmt::format(" --gpus-per-node={}", seen)});
  return fmt::format("{} of the {} of that host: show every rank all of them, it takes its own:", said,
                     host.ranks[0]->host_gpus) +
         instead.start(ranks, host.ranks[0]->host_cores / ranks,
                       {.before = "env -u CUDA_VISIBLE_DEVICES ", .srun = fmt::format(" --gpus-per-node={}", ranks)});
}

}  // namespace

std::vector<std::string> launch_faults(const std::vector<RankPlace>& places, const LaunchLine& line) {
  const std::vector<HostPlaces> hosts = by_host(places);
  const Instead instead(hosts, line);
  std::vector<std::string> faults;
  for (auto fault_of : {fault_of_cores, fault_of_gpus})
    for (const HostPlaces& host : hosts)
      if (std::string fault = fault_of(host, instead); !fault.empty()) {
        faults.push_back(fault);
        break;  // the others are mostly like it, and the line is for all
      }
  return faults;
}

}  // namespace viaduct
