#include "train/device_choice.hpp"

#include "core/device/cuda/runtime.hpp"

namespace viaduct {

Device choose_device(const Config& config, const Communicator& comm) {
  const std::string& kind = config.device.kind;
  if (kind == "cpu") return Device::cpu();
  const bool asked = kind == "cuda";
  if constexpr (!cuda::kBuilt) {
    if (asked) cuda::fail_not_built();
    return Device::cpu();
  } else {
    std::string why;
    const int count = cuda::device_count(&why);
    if (count == 0 && asked)
      fail_config(
          fmt::format("device.kind = cuda ({}): {}; or set device.kind = cpu", config.origin("device.kind"), why));
    if (count == 0 || (!asked && comm.size() > 1)) return Device::cpu();
    if (comm.size() > 1)
      fail_config(
          "device.kind = cuda runs one rank in this version: ranks that exchange gradients between GPUs need NCCL, "
          "which comes later; start one rank, or set device.kind = cpu");
    Device device = Device::cuda(0);
    cuda::use_device(device.index);
    return device;
  }
}

int64_t free_memory(Device device) {
  expect(device.is_cuda(), "a host's memory is asked of train/host_memory");
  if constexpr (cuda::kBuilt) return cuda::device_info(device.index).free_bytes;
  cuda::fail_not_built();
}

std::string describe(Device device) {
  if constexpr (cuda::kBuilt)
    if (device.is_cuda()) {
      auto info = cuda::device_info(device.index);
      return fmt::format("cuda: {}, {:.1f} GB", info.name, double(info.memory_bytes) / 1e9);
    }
  return "cpu";
}

}  // namespace viaduct
