// Notices a run that does not go on, or a rank that is gone, and says which rank it was.
#pragma once
#include <functional>
#include <string>
#include <thread>

#include "comm/host_beats.hpp"
#include "comm/host_ranks.hpp"
#include "train/verdict.hpp"

namespace viaduct {

class Watchdog {
 public:
  // Calls `on_end` once, from a thread of its own, with the verdict on
  // - a peer whose process ends without a word: a crash, noticed at once;
  // - a rank that waits for a batch for `seconds`: a stall of its own;
  // - ranks that wait in a collective for one that has not come to it and has not moved for `seconds` (ten times as long at the
  //   start and while it writes a checkpoint): its stall.
  // - with `beats`, in which rank 0 judges for all hosts: such a rank of another host, and a host of which nothing is heard
  //   for `seconds`: a stall of its first rank;
  // - trouble of a communicator, which `trouble` tells of (empty: none): a crash.
  // Whatever else takes long may take as long as it needs.
  Watchdog(HostRanks&, double seconds, std::function<void(const Verdict&)> on_end,
           std::unique_ptr<HostBeats> beats = nullptr, std::function<std::string()> trouble = {});
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;

 private:
  struct Seen;
  struct Standing;
  void watch();
  bool told_of_lost_peer();
  bool told_of_trouble();
  bool told_of_silent_host();
  bool told_of_stall(const std::vector<Seen>&);
  Beat beat_of(const std::vector<Seen>&) const;

  HostRanks& ranks_;
  double seconds_;
  std::function<void(const Verdict&)> on_end_;
  std::unique_ptr<HostBeats> beats_;  // null: one host
  std::function<std::string()> trouble_;
  int wake_;  // an eventfd: the run has ended
  std::thread thread_;
};

}  // namespace viaduct
