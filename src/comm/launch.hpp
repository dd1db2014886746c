// Who started this process; and launches that cannot work, each with the line to use instead.
#pragma once
#include <string>

namespace viaduct {

// The nearest of this process's ancestors that starts ranks: "mpirun", "orted", "slurmstepd", ..; empty where there is none, or
// a container hides it.
std::string launcher_process();

// Before MPI starts: throws where tasks of srun would be so many runs of one rank, all on one output folder.
// `speaks_pmi`: the MPI library can meet its ranks over PMI too, not over PMIx alone.
void refuse_separate_tasks(const std::string& host, bool speaks_pmi);
// After it has started: throws where a launcher of another MPI library started more ranks than the one that MPI sees.
void refuse_foreign_launcher(int ranks, const std::string& library);

// How this program was started.
struct LaunchLine {
  std::string launcher;  // "mpirun", "srun"; empty: none
  std::string program;   // with its arguments, as a shell takes them
};
LaunchLine launch_line();

}  // namespace viaduct
