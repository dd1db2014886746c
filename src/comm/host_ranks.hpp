// What the ranks of one host can see of each other: what each says of itself, in memory that outlives it, and whether its
// process is still there.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/peer_memory.hpp"
#include "core/base/phase_clock.hpp"

namespace viaduct {

// Written by its rank alone.
struct RankRecord {
  PhaseClock clock;
  std::atomic<int64_t> step{0};      // optimizer steps done
  std::atomic<int64_t> arrivals{0};  // collectives begun
  std::atomic<int> waiting{0};       // of them, those under way
  std::atomic<bool> ended{false};    // the rank has said itself how it ends
};

class HostRanks {
 public:
  // Collective. Ranks of other hosts, and those whose memory cannot be mapped, are not among peers().
  explicit HostRanks(Communicator&);
  ~HostRanks();
  HostRanks(const HostRanks&) = delete;

  struct Peer {
    int rank = 0;
    int process = 0;
    int pidfd = -1;  // readable when the process has ended; -1: a thread of this one
    PeerMemory memory;
    const RankRecord& record() const { return *reinterpret_cast<const RankRecord*>(memory.data()); }
  };
  int rank() const { return rank_; }
  RankRecord& mine() { return *mine_; }
  const std::vector<Peer>& peers() const { return peers_; }
  bool complete() const { return complete_; }  // every other rank is a peer

 private:
  int rank_;
  std::optional<PeerMemory> memory_;
  std::unique_ptr<RankRecord> unshared_;  // where nobody can look
  RankRecord* mine_;
  std::vector<Peer> peers_;
  bool complete_ = false;
};

}  // namespace viaduct
