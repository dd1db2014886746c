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
  double still() const { return std::chrono::duration<double>(Clock::now() - since).count(); }
};

// Where a rank is, of this host or of another.
struct Watchdog::Standing {
  int rank = 0, process = -1;  // -1: of another host
  std::string host;            // empty: this one
  Phase phase = Phase::start;
  int64_t step = 0, arrivals = 0;
  double still = 0;

  explicit Standing(const Seen& seen)
      : rank(seen.rank),
        process(seen.process),
        phase(seen.record->clock.phase()),
        step(seen.record->step),
        arrivals(seen.arrivals),
        still(seen.still()) {}
  explicit Standing(const HostBeats::Host& other)
      : rank(other.beat.rank),
        host(other.name),
        phase(other.beat.phase),
        step(other.beat.step),
        arrivals(other.beat.arrivals),
        still(other.beat.still) {}

  // Reading a model and writing a checkpoint are single acts of one rank, for which the others wait.
  bool outlasts(double seconds) const {
    return still >= seconds * (phase == Phase::start || phase == Phase::checkpoint ? 10 : 1);
  }
  Verdict verdict(Exit code, std::string message) const {
    return {
        .code = code, .message = std::move(message), .phase = name_of(phase), .step = step, .rank = rank, .host = host};
  }
};

Watchdog::Watchdog(HostRanks& ranks, double seconds, std::function<void(const Verdict&)> on_end,
                   std::unique_ptr<HostBeats> beats, std::function<std::string()> trouble)
    : ranks_(ranks),
      seconds_(seconds),
      on_end_(std::move(on_end)),
      beats_(std::move(beats)),
      trouble_(std::move(trouble)),
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
    if (beats_) beats_->exchange(beat_of(seen));
    if (told_of_trouble() || told_of_silent_host() || told_of_stall(seen)) return;
  }
}

Beat Watchdog::beat_of(const std::vector<Seen>& seen) const {
  Beat beat{.rank = -1};
  for (const Seen& rank : seen) {
    if (const Standing here(rank); beat.rank < 0 || here.arrivals < beat.arrivals)
      beat.rank = here.rank, beat.phase = here.phase, beat.step = here.step, beat.arrivals = here.arrivals,
      beat.still = here.still;
    if (rank.record->waiting > 0 && rank.still() > beat.waited)
      beat.waited = rank.still(), beat.waits_in = rank.arrivals;
  }
  return beat;
}

bool Watchdog::told_of_lost_peer() {
  for (const auto& peer : ranks_.peers()) {
    pollfd end{peer.pidfd, POLLIN, 0};
    if (peer.record().ended || ::poll(&end, 1, 0) <= 0) continue;
    on_end_(Standing(Seen{peer.rank, peer.process, &peer.record()})
                .verdict(Exit::crash,
                         fmt::format("rank {} (process {}) ended without a word: killed, perhaps for want of memory "
                                     "(dmesg says so), or by a fault of the program",
                                     peer.rank, peer.process)));
    return true;
  }
  return false;
}

bool Watchdog::told_of_trouble() {
  const std::string trouble = trouble_ ? trouble_() : "";
  if (trouble.empty()) return false;
  on_end_(Standing(Seen{ranks_.rank(), 0, &ranks_.mine()})
              .verdict(Exit::crash, fmt::format("NCCL reports '{}' while rank {} works with the others: look at the "
                                                "first rank that ended, at the GPUs (dmesg | grep -i xid) and at the "
                                                "network",
                                                trouble, ranks_.rank())));
  return true;
}

bool Watchdog::told_of_silent_host() {
  if (!beats_) return false;
  for (const HostBeats::Host& other : beats_->others()) {
    if (std::chrono::duration<double>(Clock::now() - other.heard).count() < seconds_) continue;
    Standing silent(other);
    silent.rank = other.first_rank;
    on_end_(
        silent.verdict(Exit::stall, fmt::format("stalled: nothing was heard of host {} (ranks {} to {}) for {} seconds "
                                                "(parallel.timeout_seconds): it is down or stopped, or the network to "
                                                "it is cut",
                                                other.name, other.first_rank, other.last_rank, seconds_)));
    return true;
  }
  return false;
}

bool Watchdog::told_of_stall(const std::vector<Seen>& seen) {
  const Seen& self = seen[0];
  if (self.record->clock.phase() == Phase::data && self.still() >= seconds_) {
    on_end_(Standing(self).verdict(
        Exit::stall,
        fmt::format("stalled: for {} seconds (parallel.timeout_seconds) no batch has come to rank {}: look "
                    "at the storage of the images",
                    seconds_, self.rank)));
    return true;
  }
  std::vector<Standing> all(seen.begin(), seen.end());
  int64_t waits_in = self.record->waiting > 0 && self.still() >= seconds_ ? self.arrivals : -1;
  if (beats_ && self.rank == 0)
    for (const HostBeats::Host& other : beats_->others()) {
      all.emplace_back(other);
      if (other.beat.waited >= seconds_) waits_in = std::max(waits_in, other.beat.waits_in);
    }
  if (waits_in < 0) return false;
  const Standing& last =
      *std::min_element(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.arrivals < b.arrivals; });
  if (!last.outlasts(seconds_)) return false;
  if (last.arrivals == waits_in) {
    if (beats_ && self.rank != 0) return false;  // rank 0 sees more
    if ((ranks_.complete() || beats_) &&
        std::any_of(seen.begin(), seen.end(), [](const Seen& s) { return s.record->ended.load(); }))
      return false;  // another rank is ending this run
    on_end_(Standing(self).verdict(
        Exit::stall,
        fmt::format("stalled: for {} seconds (parallel.timeout_seconds) rank {} has waited for others, and no "
                    "rank {}is behind it: look at {}the network",
                    seconds_, self.rank, beats_ ? "" : "of this host ", beats_ ? "" : "the other hosts and ")));
    return true;
  }
  on_end_(last.verdict(
      Exit::stall,
      fmt::format(
          "stalled: for {} seconds (parallel.timeout_seconds) rank {} has not come to where the others wait{}: look "
          "at what it does",
          seconds_, last.rank,
          last.process >= 0 && is_stopped(last.process) ? fmt::format(" (process {} is stopped)", last.process) : "")));
  return true;
}

}  // namespace viaduct
