#include "train/watchdog.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "core/base/check.hpp"

namespace viaduct {
namespace {

using Clock = std::chrono::steady_clock;

bool is_stopped(int process) {
  std::ifstream stat(fmt::format("/proc/{}/stat", process));
  std::string text;
  std::getline(stat, text);
  const size_t name_ends = text.rfind(')');
  return name_ends != text.npos && name_ends + 2 < text.size() && text[name_ends + 2] == 'T';
}

Verdict verdict_on(int rank, const RankRecord& record, Exit code, std::string message) {
  return {.code = code,
          .message = std::move(message),
          .phase = name_of(record.clock.phase()),
          .step = record.step,
          .rank = rank};
}

}  // namespace

// When a rank was last seen to move.
struct Watchdog::Seen {
  int rank, process;  // process 0: this one
  const RankRecord* record;
  uint64_t entries = 0;
  int64_t arrivals = 0;
  Clock::time_point since = Clock::now();

  void look() {
    const uint64_t entries_now = record->clock.entries();
    const int64_t arrivals_now = record->arrivals;
    if (entries_now != entries || arrivals_now != arrivals) since = Clock::now();
    entries = entries_now, arrivals = arrivals_now;
  }
  // Reading a model and writing a checkpoint are single acts of one rank, for which the others wait.
  bool outlasts(double seconds) const {
    const Phase phase = record->clock.phase();
    return still() >= seconds * (phase == Phase::start || phase == Phase::checkpoint ? 10 : 1);
  }
  double still() const { return std::chrono::duration<double>(Clock::now() - since).count(); }
};

Watchdog::Watchdog(HostRanks& ranks, double seconds, std::function<std::string()> trouble,
                   std::function<void(const Verdict&)> on_end)
    : ranks_(ranks),
      seconds_(seconds),
      trouble_(std::move(trouble)),
      on_end_(std::move(on_end)),
      wake_(::eventfd(0, EFD_CLOEXEC)),
      thread_([this] { watch(); }) {}

Watchdog::~Watchdog() {
  ::eventfd_write(wake_, 1);
  thread_.join();
  ::close(wake_);
}

void Watchdog::watch() {
  std::vector<Seen> seen{{ranks_.rank(), 0, &ranks_.mine()}};
  std::vector<pollfd> ends{{wake_, POLLIN, 0}};
  for (const auto& peer : ranks_.peers()) {
    seen.push_back({peer.rank, peer.process, &peer.record()});
    if (peer.pidfd >= 0) ends.push_back({peer.pidfd, POLLIN, 0});
  }
  const int interval = int(std::clamp(seconds_ / 20, 0.001, 1.0) * 1000);
  for (;;) {
    const int ready = ::poll(ends.data(), ends.size(), interval);
    if (ready > 0 && ends[0].revents) return;
    if (ready > 0 && told_of_lost_peer()) return;
    for (pollfd& end : ends)
      if (end.revents) end.fd = -1;  // it ended as it said it would
    for (Seen& rank : seen) rank.look();
    if (told_of_trouble() || told_of_stall(seen)) return;
  }
}

bool Watchdog::told_of_lost_peer() {
  for (const auto& peer : ranks_.peers()) {
    pollfd end{peer.pidfd, POLLIN, 0};
    if (peer.record().ended || ::poll(&end, 1, 0) <= 0) continue;
    on_end_(verdict_on(peer.rank, peer.record(), Exit::crash,
                       fmt::format("rank {} (process {}) ended without a word: killed, perhaps for want of memory "
                                   "(dmesg says so), or by a fault of the program",
                                   peer.rank, peer.process)));
    return true;
  }
  return false;
}

bool Watchdog::told_of_trouble() {
  const std::string trouble = trouble_();
  if (trouble.empty()) return false;
  on_end_(verdict_on(ranks_.rank(), ranks_.mine(), Exit::crash,
                     fmt::format("NCCL reports '{}' while rank {} works with the others: look at the first rank that "
                                 "ended, at the GPUs (dmesg | grep -i xid) and at the network",
                                 trouble, ranks_.rank())));
  return true;
}

bool Watchdog::told_of_stall(std::vector<Seen>& seen) {
  const Seen& self = seen[0];
  if (self.record->clock.phase() == Phase::data && self.still() >= seconds_) {
    on_end_(
        verdict_on(self.rank, *self.record, Exit::stall,
                   fmt::format("stalled: for {} seconds (parallel.timeout_seconds) no batch has come to rank {}: look "
                               "at the storage of the images",
                               seconds_, self.rank)));
    return true;
  }
  if (self.record->waiting == 0 || self.still() < seconds_) return false;
  const Seen& last =
      *std::min_element(seen.begin(), seen.end(), [](const Seen& a, const Seen& b) { return a.arrivals < b.arrivals; });
  if (!last.outlasts(seconds_)) return false;
  if (last.arrivals == self.arrivals) {
    if (ranks_.complete() &&
        std::any_of(seen.begin(), seen.end(), [](const Seen& s) { return s.record->ended.load(); }))
      return false;  // another rank is ending this run
    on_end_(
        verdict_on(self.rank, *self.record, Exit::stall,
                   fmt::format("stalled: for {} seconds (parallel.timeout_seconds) rank {} has waited for others, and "
                               "no rank of this host is behind it: look at the other hosts and the network",
                               seconds_, self.rank)));
    return true;
  }
  on_end_(
      verdict_on(last.rank, *last.record, Exit::stall,
                 fmt::format("stalled: for {} seconds (parallel.timeout_seconds) rank {} has not come to where the "
                             "others wait{}: look at what it does",
                             seconds_, last.rank,
                             is_stopped(last.process) ? fmt::format(" (process {} is stopped)", last.process) : "")));
  return true;
}

}  // namespace viaduct
