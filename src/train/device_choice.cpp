#include "train/device_choice.hpp"

#include "core/base/log.hpp"
#include "core/device/gpus.hpp"

namespace viaduct {
namespace {

// What a training step of this version does in host memory only; empty: nothing.
std::string only_in_host_memory(const ParallelSection& parallel) {
  if (parallel.reduction == "invariant") return "parallel.reduction = invariant adds gradients up in host memory";
  if (parallel.strategy == "zero2") return "parallel.strategy = zero2 keeps its buckets in host memory";
  return {};
}

}  // namespace

Device choose_device(const Config& config, const Communicator& comm, bool training) {
  const std::string& kind = config.device.kind;
  if (kind == "cpu") return Device::cpu();
  const bool asked = kind == "cuda";
  std::string why;
  const int count = gpu_count(&why);
  if (asked && count == 0)
    fail_config(
        fmt::format("device.kind = cuda ({}): {}; or set device.kind = cpu", config.origin("device.kind"), why));
  if (asked && comm.size() > 1)
    fail_config(
        "device.kind = cuda runs one rank in this version: GPUs that exchange gradients need NCCL, which comes later; "
        "start one rank, or set device.kind = cpu");
  const std::string on_host = training ? only_in_host_memory(config.parallel) : "";
  if (asked && !on_host.empty())
    fail_config(fmt::format("device.kind = cuda: {} in this version; leave it out, or set device.kind = cpu", on_host));
  if (count == 0) return Device::cpu();
  if (comm.size() > 1 || !on_host.empty()) {
    log::warn("the GPU is left alone: {} in this version",
              on_host.empty() ? "several ranks exchange gradients in host memory" : on_host);
    return Device::cpu();
  }
  const Device device = Device::cuda(0);
  use_gpu(device.index);
  return device;
}

std::string describe(Device device) {
  if (!device.is_cuda()) return "cpu";
  const Gpu info = gpu(device.index);
  return fmt::format("cuda: {}, {:.1f} GB", info.name, double(info.memory_bytes) / 1e9);
}

}  // namespace viaduct
