#include "comm/host_ranks.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <exception>
#include <new>
#include <sstream>

#include "core/base/log.hpp"

namespace viaduct {

HostRanks::HostRanks(Communicator& comm) : rank_(comm.rank()) {
  static_assert(std::atomic<int64_t>::is_always_lock_free && std::atomic<Phase>::is_always_lock_free,
                "what one process writes and another reads");
  PeerAddress mine;
  if (comm.size() > 1 && (memory_ = PeerMemory::make(sizeof(RankRecord)))) {
    mine = memory_->address();
    mine_ = new (memory_->data()) RankRecord;
  } else {
    unshared_ = std::make_unique<RankRecord>();
    mine_ = unshared_.get();
  }
  if (comm.size() == 1) return;
  const std::string& host = log::identity().host;
  const auto all = comm.all_gather_text(
      fmt::format("{} {} {} {} {}", mine.process, mine.file, mine.token, mine.bytes, host.empty() ? "?" : host));
  for (int r = 0; r < comm.size(); ++r) {
    PeerAddress theirs;
    std::string their_host;
    std::istringstream(all[size_t(r)]) >> theirs.process >> theirs.file >> theirs.token >> theirs.bytes >> their_host;
    if (r == comm.rank() || theirs.file < 0 || their_host != (host.empty() ? "?" : host)) continue;
    auto memory = PeerMemory::open(theirs);
    if (!memory) continue;
    const int pidfd = theirs.process == ::getpid() ? -1 : int(::syscall(SYS_pidfd_open, theirs.process, 0));
    peers_.push_back({r, theirs.process, pidfd, std::move(*memory)});
  }
  complete_ = int(peers_.size()) + 1 == comm.size();
  comm.barrier();  // nobody leaves before all have looked
}

HostRanks::~HostRanks() {
  if (std::uncaught_exceptions()) {  // a communication thread that is left behind may still write into it
    unshared_.release();
    if (memory_) new PeerMemory(std::move(*memory_));
  }
  for (const Peer& peer : peers_)
    if (peer.pidfd >= 0) ::close(peer.pidfd);
}

}  // namespace viaduct
