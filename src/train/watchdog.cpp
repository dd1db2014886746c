#include "train/watchdog.hpp"

#include <algorithm>

#include "core/base/check.hpp"

namespace viaduct {

Watchdog::Watchdog(const PhaseClock& clock, double seconds, std::function<void(const std::string&)> on_stall)
    : clock_(clock), seconds_(seconds), on_stall_(std::move(on_stall)), thread_([this] { watch(); }) {}

Watchdog::~Watchdog() {
  {
    std::lock_guard lock(mutex_);
    done_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Watchdog::watch() {
  using Clock = std::chrono::steady_clock;
  auto interval = std::chrono::duration<double>(std::clamp(seconds_ / 20, 0.001, 1.0));
  uint64_t entries = clock_.entries();
  auto since = Clock::now();
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, interval, [this] { return done_; })) {
    Phase phase = clock_.phase();
    uint64_t now = clock_.entries();
    bool waits = phase == Phase::data || phase == Phase::comm;
    if (now != entries || !waits) {
      entries = now, since = Clock::now();
      continue;
    }
    if (std::chrono::duration<double>(Clock::now() - since).count() < seconds_) continue;
    const char* what = phase == Phase::data ? "no batch has come: look at the storage of the images"
                                            : "another rank has not come to the same point: look at what it does";
    return on_stall_(fmt::format("stalled: for {} seconds (parallel.timeout_seconds) {}", seconds_, what));
  }
}

}  // namespace viaduct
