// Seconds that a stream's work takes: on a cuda device between two events of the stream, as the device counts them, on
// the CPU by its steady clock.
#pragma once
#include <chrono>

#include "core/device/stream.hpp"

namespace viaduct {

class DeviceTimer {
 public:
  explicit DeviceTimer(Stream&);
  DeviceTimer(const DeviceTimer&) = delete;
  ~DeviceTimer();
  // Between the work that the stream has been given so far and that which it is given next; neither waits.
  void start();
  void stop();
  double seconds();  // from start to stop; waits for the device to have come that far

 private:
  using Clock = std::chrono::steady_clock;
  Stream& stream_;
  Clock::time_point started_, stopped_;
  void *start_event_ = nullptr, *stop_event_ = nullptr;  // of a cuda device
};

}  // namespace viaduct
