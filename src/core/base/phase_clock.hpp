// Where the time of a step goes, and what the program is doing now (for the record of how a run ended).
#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace viaduct {

enum class Phase : int { start, data, forward, backward, comm, optimizer, eval, checkpoint, finish };
inline const char* name_of(Phase p) {
  constexpr const char* names[] = {"start",     "data", "forward",    "backward", "comm",
                                   "optimizer", "eval", "checkpoint", "finish"};
  return names[int(p)];
}

class PhaseClock {
 public:
  void enter(Phase next) {
    auto now = std::chrono::steady_clock::now();
    seconds_[int(phase_.load(std::memory_order_relaxed))] += std::chrono::duration<double>(now - since_).count();
    since_ = now;
    phase_.store(next, std::memory_order_relaxed);
    entries_.fetch_add(1, std::memory_order_relaxed);
  }
  // These two may be asked from another thread.
  Phase phase() const { return phase_.load(std::memory_order_relaxed); }
  uint64_t entries() const { return entries_.load(std::memory_order_relaxed); }  // how often enter() was called
  double seconds(Phase p) const { return seconds_[int(p)]; }
  void reset() { seconds_ = {}, since_ = std::chrono::steady_clock::now(); }

 private:
  std::atomic<Phase> phase_{Phase::start};
  std::atomic<uint64_t> entries_{0};
  std::array<double, 9> seconds_{};
  std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
};

}  // namespace viaduct
