#include <algorithm>
#include <exception>
#include <set>

#include "comm/host_beats.hpp"
#include "comm/mpi_check.hpp"
#include "core/base/log.hpp"

namespace viaduct {
namespace {

constexpr int kTag = 1;

class MpiBeats final : public HostBeats {
 public:
  MpiBeats(const std::vector<std::string>& host_of, int rank) {
    mpi_check(MPI_Comm_dup(MPI_COMM_WORLD, &comm_), "MPI_Comm_dup");
    std::vector<Host> hosts;  // in the order of their first ranks
    for (int r = 0; r < int(host_of.size()); ++r) {
      auto host = std::find_if(hosts.begin(), hosts.end(), [&](const Host& h) { return h.name == host_of[size_t(r)]; });
      if (host == hosts.end()) host = hosts.insert(host, {.name = host_of[size_t(r)], .first_rank = r});
      host->last_rank = r;
    }
    for (const Host& host : hosts)
      if (rank == 0 ? host.first_rank != 0 : host.first_rank == rank) others_.push_back(rank == 0 ? host : hosts[0]);
    lines_.resize(others_.size());
    for (size_t i = 0; i < lines_.size(); ++i) listen(i);
  }
  ~MpiBeats() {
    bool under_way = std::uncaught_exceptions();  // then MPI_Abort follows, and no other rank would come along
    for (Line& line : lines_) {
      if (under_way) break;
      MPI_Cancel(&line.incoming);
      MPI_Wait(&line.incoming, MPI_STATUS_IGNORE);
      int sent = 0;
      under_way = MPI_Test(&line.outgoing, &sent, MPI_STATUS_IGNORE) != MPI_SUCCESS || !sent;
    }
    if (under_way)
      new std::vector<Line>(std::move(lines_));  // MPI may still read and write it
    else
      MPI_Comm_free(&comm_);
  }

  void exchange(const Beat& mine) override {
    for (size_t i = 0; i < lines_.size(); ++i) {
      while (done(lines_[i].incoming, "a beat from another host")) {
        others_[i].beat = lines_[i].in, others_[i].heard = std::chrono::steady_clock::now();
        listen(i);
      }
      if (!done(lines_[i].outgoing, "a beat to another host")) continue;  // the last one is still on its way
      lines_[i].out = mine;
      mpi_check(
          MPI_Isend(&lines_[i].out, sizeof(Beat), MPI_BYTE, others_[i].first_rank, kTag, comm_, &lines_[i].outgoing),
          "MPI_Isend of a beat");
    }
  }

 private:
  struct Line {
    Beat in, out;
    MPI_Request incoming = MPI_REQUEST_NULL, outgoing = MPI_REQUEST_NULL;
  };
  void listen(size_t i) {
    mpi_check(MPI_Irecv(&lines_[i].in, sizeof(Beat), MPI_BYTE, others_[i].first_rank, kTag, comm_, &lines_[i].incoming),
              "MPI_Irecv of a beat");
  }
  static bool done(MPI_Request& request, const char* what) {
    int done = 0;
    mpi_check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), what);
    return done;
  }

  MPI_Comm comm_;
  std::vector<Line> lines_;  // with others_
};

}  // namespace

std::unique_ptr<HostBeats> make_mpi_beats(Communicator& comm) {
  int runs = 0;
  MPI_Initialized(&runs);
  if (!runs || comm.size() == 1) return nullptr;
  const auto host_of = comm.all_gather_text(log::identity().host);
  if (std::set(host_of.begin(), host_of.end()).size() == 1) return nullptr;
  return std::make_unique<MpiBeats>(host_of, comm.rank());
}

}  // namespace viaduct
