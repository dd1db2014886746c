#include "train/step_numbers.hpp"

namespace viaduct {

namespace {
constexpr int64_t kBytes = StepNumbers::kAll * int64_t(sizeof(double));
}

int64_t StepNumbers::bytes(Device::Kind kind) { return kind == Device::Kind::cuda ? kBytes : 0; }

StepNumbers::StepNumbers(Device device) {
  host_buffer_ = host_memory_near(device, kBytes);
  host_ = device_ = host_buffer_.view(0, {kAll}, DType::f64);
  if (!device.is_cuda()) return;
  device_buffer_ = Buffer(device, kBytes);
  device_ = device_buffer_.view(0, {kAll}, DType::f64);
}

void StepNumbers::to_device(Stream& stream) { transfer(device_.slice(0, kSums), host_.slice(0, kSums), stream); }

void StepNumbers::to_host(Stream& stream, Tensor step_sums) {
  transfer(host_.slice(kScalars, kSums), device_scalars(), stream);
  transfer(host_.slice(kSums, kAll), step_sums, stream);
}

}  // namespace viaduct
