// The few numbers that a step begins with and ends with, on the host and on the device (rule R4).
#pragma once
#include "comm/grad_sync.hpp"
#include "core/device/host_copy.hpp"
#include "core/ops/update.hpp"

namespace viaduct {

class StepNumbers {
 public:
  explicit StepNumbers(Device);
  static int64_t bytes(Device::Kind);  // on the device

  // On the host: set before the step and, after to_host() and a wait for the stream, what it left.
  double* scalars() { return host(kScalars); }  // ops::step_scalar
  double* counts() { return host(kCounts); }    // samples replaced, whether to stop
  double* sums() { return host(kSums); }        // ops::step_sum

  void to_device(Stream&);
  void to_host(Stream&, Tensor step_sums);  // the scalars, and the sums of GradSync::finish()

  Tensor device_scalars() const { return on_device(kScalars, ops::step_scalar::count); }
  Tensor device_counts() const { return on_device(kCounts, 2); }

  static constexpr int64_t kCounts = 0, kScalars = 2, kSums = kScalars + ops::step_scalar::count,
                           kAll = kSums + ops::step_sum::count;

 private:
  double* host(int64_t at) const { return data<double>(host_) + at; }
  Tensor on_device(int64_t at, int64_t n) const { return device_.slice(at, at + n); }
  Buffer host_buffer_, device_buffer_;  // the second is empty on the CPU
  Tensor host_, device_;
};

}  // namespace viaduct
