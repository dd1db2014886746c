#include "core/device/device_timer.hpp"

#include "core/device/cuda/runtime.hpp"

namespace viaduct {

DeviceTimer::DeviceTimer(Stream& stream) : stream_(stream) {
  if constexpr (cuda::kBuilt)
    if (const Device device = stream.device(); device.is_cuda())
      start_event_ = cuda::new_event(device.index), stop_event_ = cuda::new_event(device.index);
}

DeviceTimer::~DeviceTimer() {
  if constexpr (cuda::kBuilt)
    for (void* event : {start_event_, stop_event_})
      if (event) cuda::delete_event(event);
}

void DeviceTimer::start() {
  if constexpr (cuda::kBuilt)
    if (start_event_) return cuda::record_event(start_event_, stream_.native());
  started_ = Clock::now();
}

void DeviceTimer::stop() {
  if constexpr (cuda::kBuilt)
    if (stop_event_) return cuda::record_event(stop_event_, stream_.native());
  stopped_ = Clock::now();
}

double DeviceTimer::seconds() {
  if constexpr (cuda::kBuilt)
    if (start_event_) return cuda::seconds_between(start_event_, stop_event_);
  return std::chrono::duration<double>(stopped_ - started_).count();
}

}  // namespace viaduct
