// The ranks of this run: started and stopped explicitly, never by a destructor, because MPI_Finalize on an error path
// hangs.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "comm/communicator.hpp"
#include "core/base/check.hpp"

namespace viaduct {

struct World {
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;  // among the ranks of this host
  std::string host;
};

// Starts MPI where a launcher is there (none: one rank, and MPI is not touched) and gives the log its identity.
World start_world();
// The good end: every rank calls it.
void stop_world();
// All ranks: over MPI, and NCCL for what lies on devices, or SelfComm for a world of one.
std::unique_ptr<Communicator> world_communicator(const World&);

// Says why (rank and host are added), then ends every rank at once with this exit code. From any thread, in any state.
[[noreturn]] void end_all_ranks(Exit code, const std::string& message);

// start_world, body, stop_world; its value is the process's exit code. When the body throws: if every rank fails within
// half a second, equal messages are said once; else this rank says its own. Then all ranks end with this rank's code.
// Communication that is under way does not have to be ended first.
int run_ranks_main(const std::function<int(const World&, Communicator&)>& body);

}  // namespace viaduct
