#include "app/doctor_launch.hpp"

#include <cstdlib>

#include "comm/launch_faults.hpp"

namespace viaduct::app {
namespace {

std::string value_of(const char* variable) {
  const char* value = std::getenv(variable);
  return value ? value : "";
}

// A setting as it was given: "SLURM_CPU_BIND_TYPE = mask_cpu:".
std::string setting(const std::string& variable) { return variable + " = " + value_of(variable.c_str()); }

std::string launcher_words(const LaunchLine& line) {
  if (line.launcher.empty()) return "none: one rank";
  std::string words = line.launcher;
  if (const std::string process = launcher_process(); !process.empty() && process != words)
    words += " (" + process + ")";
  for (const char* variable : {"PMIX_RANK", "PMI_RANK"})
    if (!value_of(variable).empty()) return words + ", which said so by " + setting(variable);
  return words;
}

}  // namespace

void judge_launch(const World& world, const ThreadShare& share, const LaunchLine& line, Findings& found) {
  const RankPlace& here = share.ranks[size_t(world.rank)];
  found.fact("launch", "rank {} of {}, {} of {} on {}", world.rank, world.size, world.local_rank, world.local_size,
             world.host);
  found.fact("launcher", "{}", launcher_words(line));
  found.fact("cores", "{} of the {} that this host grants: processors {}, {}", here.cores.size(), here.host_cores,
             here.cpus, share.bound_by.empty() ? "the share of this rank" : "as bound by " + setting(share.bound_by));
  found.fact("threads", "{}{}", here.threads,
             value_of("OMP_NUM_THREADS").empty() ? "" : ", " + setting("OMP_NUM_THREADS"));
  const std::string policy = value_of("OMP_WAIT_POLICY");
  found.fact("waiting", "OMP_WAIT_POLICY = {}", policy.empty() ? "unset" : policy);
  if (policy == "active" && world.local_size > 1)
    found.problem("OMP_WAIT_POLICY = active makes ranks that share cores spin against each other; unset it");
  if (!here.gpus.empty())
    found.fact("gpus", "{} of the {} of this host: {}", here.gpus.size(), here.host_gpus,
               fmt::format("{}", fmt::join(here.gpus, " ")));
  if (world.rank == 0)
    for (const std::string& fault : launch_faults(share.ranks, line)) found.problem("{}", fault);
}

}  // namespace viaduct::app
