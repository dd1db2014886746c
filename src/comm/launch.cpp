#include "comm/launch.hpp"

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <set>

#include "core/base/check.hpp"
#include "core/base/log.hpp"

namespace viaduct {
namespace {

const std::set<std::string> kMpiruns = {"mpirun", "mpiexec", "orterun", "prterun", "mpiexec.hydra"};
const std::set<std::string> kRemote = {"orted", "prted", "hydra_pmi_proxy", "slurmstepd"};  // what they start on a host

int number_in(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);
  return text && *text ? std::atoi(text) : otherwise;
}

// As a shell takes it.
std::string command_line() {
  constexpr const char* kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=,@%+-";
  std::ifstream file("/proc/self/cmdline");
  std::string text;
  for (std::string word; std::getline(file, word, '\0');) {
    if (word.empty() || word.find_first_not_of(kPlain) != word.npos) {
      for (size_t at = 0; (at = word.find('\'', at)) != word.npos; at += 4) word.replace(at, 1, "'\\''");
      word = "'" + word + "'";
    }
    text += (text.empty() ? "" : " ") + word;
  }
  return text;
}

}  // namespace

std::string launcher_process() {
  // A process without a parent that can be seen, such as the first of a container, ends the search.
  for (int process = ::getppid(); process > 1;) {
    std::ifstream status(fmt::format("/proc/{}/status", process));
    std::string key, name;
    int parent = 0;
    while (status >> key && key != "PPid:")
      if (key == "Name:") status >> name;
    if (!(status >> parent)) return {};
    if (kMpiruns.contains(name) || kRemote.contains(name)) return name;
    process = parent;
  }
  return {};
}

void refuse_separate_tasks(const std::string& host, bool speaks_pmi) {
  const int tasks = number_in("SLURM_STEP_NUM_TASKS", 1);
  if (tasks <= 1) return;
  const bool met_by_mpirun = std::getenv("OMPI_COMM_WORLD_SIZE");
  const bool many_mpiruns = met_by_mpirun && kMpiruns.contains(launcher_process());
  if (!many_mpiruns && (met_by_mpirun || std::getenv("PMIX_RANK") || (speaks_pmi && std::getenv("PMI_RANK")))) return;
  log::set_identity({number_in("SLURM_PROCID", 0), tasks, host});
  std::string wrong = fmt::format("srun started {0} tasks without PMI{1}, so that MPI sees {0} worlds of one rank",
                                  tasks, speaks_pmi ? "" : "x");
  if (many_mpiruns) wrong = fmt::format("srun started mpirun {} times, each for a run of its own", tasks);
  fail_config(fmt::format("{}. Start the ranks so:\n  srun --mpi={} -n {} {}", wrong, speaks_pmi ? "pmi2" : "pmix",
                          tasks, command_line()));
}

void refuse_foreign_launcher(int ranks, const std::string& library) {
  if (ranks > 1) return;
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"})
    if (const int started = number_in(name, 1); started > 1)
      fail_config(
          fmt::format("{0} = {1}, but MPI sees worlds of one rank: the launcher belongs to another MPI library than "
                      "the one that is linked ({2}). Start with the mpirun of that installation:\n"
                      "  PATH-OF-ITS-BIN/mpirun -np {1} {3}",
                      name, started, library, command_line()));
}

LaunchLine launch_line() {
  const std::string launcher = launcher_process();
  const bool srun = launcher == "slurmstepd" || (launcher.empty() && number_in("SLURM_STEP_NUM_TASKS", 0) > 0);
  const bool mpirun = !launcher.empty() || std::getenv("OMPI_COMM_WORLD_SIZE");
  return {.launcher = srun ? "srun" : mpirun ? "mpirun" : "", .program = command_line()};
}

}  // namespace viaduct
