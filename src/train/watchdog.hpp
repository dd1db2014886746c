// Notices a run that does not go on: a rank that waits too long for a batch, or for the other ranks.
#pragma once
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "core/base/phase_clock.hpp"

namespace viaduct {

class Watchdog {
 public:
  // Calls `on_stall` once, from a thread of its own, when the clock stays in one visit of Phase::data or Phase::comm
  // for `seconds`. Other phases may take as long as they need.
  Watchdog(const PhaseClock&, double seconds, std::function<void(const std::string& message)> on_stall);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;

 private:
  void watch();

  const PhaseClock& clock_;
  double seconds_;
  std::function<void(const std::string&)> on_stall_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::thread thread_;
};

}  // namespace viaduct
