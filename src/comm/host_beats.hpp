// What hosts say of themselves while a run goes on, so that one that falls silent can be named: the first rank of each to
// rank 0, and rank 0 back. Between hosts alone; ranks of one host see each other (host_ranks.hpp).
#pragma once
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "core/base/phase_clock.hpp"

namespace viaduct {

// Of one host: the rank that has come to the fewest collectives, and the one that waits longest in the furthest.
struct Beat {
  int rank = 0;
  Phase phase = Phase::start;
  int64_t step = 0, arrivals = 0;
  double still = 0;   // seconds since it has moved
  double waited = 0;  // seconds
  int64_t waits_in = 0;
};

class HostBeats {
 public:
  virtual ~HostBeats() = default;

  struct Host {
    std::string name;
    int first_rank = 0, last_rank = 0;
    Beat beat;  // the last that was heard
    std::chrono::steady_clock::time_point heard = std::chrono::steady_clock::now();
  };
  // Whom this rank hears: rank 0 the other hosts, the first rank of another host that of rank 0, any other rank nobody.
  const std::vector<Host>& others() const { return others_; }
  // Sends this host's and takes what has come; never waits. From one thread. Nothing on ranks that hear nobody.
  virtual void exchange(const Beat& mine) = 0;

 protected:
  std::vector<Host> others_;
};

// Over MPI, for a communicator of all its ranks. Collective. Null where all are on one host, or no MPI runs.
std::unique_ptr<HostBeats> make_mpi_beats(Communicator&);

}  // namespace viaduct
