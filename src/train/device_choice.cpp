#include "train/device_choice.hpp"

#include <algorithm>
#include <cstdlib>

#include "core/base/log.hpp"
#include "core/device/gpus.hpp"

namespace viaduct {
namespace {

// What a training step of this version does in host memory only; empty: nothing.
std::string only_in_host_memory(const ParallelSection& parallel, int ranks) {
  if (parallel.reduction == "invariant") return "parallel.reduction = invariant adds gradients up in host memory";
  if (parallel.strategy == "zero2") return "parallel.strategy = zero2 keeps its buckets in host memory";
  if (parallel.wire == "bf16" && ranks > 1) return "parallel.wire = bf16 rounds gradients in host memory";
  return {};
}

// The GPU of this rank: those of a host go to its ranks in turn.
int own_gpu(Communicator& comm, int count) {
  const std::string& mine = log::identity().host;
  const auto hosts = comm.all_gather_text(mine);
  return int(std::count(hosts.begin(), hosts.begin() + comm.rank(), mine)) % count;
}

// Whether every rank has one; a host without makes all of them compute on the CPU.
bool all_have_gpus(Communicator& comm, int count) {
  const auto counts = comm.all_gather_text(count > 0 ? "some" : "");
  const auto without = std::find(counts.begin(), counts.end(), "");
  if (count > 0 && without != counts.end())
    log::warn("the GPU is left alone: rank {} has none", without - counts.begin());
  return without == counts.end();
}

// Why the ranks cannot each have the GPU that falls to them; empty: they can. NCCL gives every rank one of its own, unless
// NCCL_HOSTID makes it take them for ranks of different hosts.
std::string shared_gpu(Communicator& comm, const Gpu& own) {
  if (!comm.carries(Device::cuda(own.index))) return "these ranks exchange gradients in host memory";
  const auto places = comm.all_gather_text(fmt::format("GPU {} of host {}", own.bus, log::identity().host));
  if (std::getenv("NCCL_HOSTID")) return {};
  for (size_t r = 0; r < places.size(); ++r)
    for (size_t other = 0; other < r; ++other)
      if (places[other] == places[r])
        return fmt::format(
            "ranks {} and {} share {}; start as many ranks on a host as it has GPUs "
            "(mpirun --map-by ppr:N:node, srun --ntasks-per-node N --gpus-per-node N)",
            other, r, places[r]);
  return {};
}

}  // namespace

Device choose_device(const Config& config, Communicator& comm, bool training) {
  const std::string& kind = config.device.kind;
  if (kind == "cpu") return Device::cpu();
  std::string why;
  const int count = gpu_count(&why);
  const bool asked = kind == "cuda";
  if (asked && count == 0)
    fail_config(
        fmt::format("device.kind = cuda ({}): {}; or set device.kind = cpu", config.origin("device.kind"), why));
  if (!all_have_gpus(comm, count)) return Device::cpu();
  const Device device = Device::cuda(own_gpu(comm, count));
  why = training ? only_in_host_memory(config.parallel, comm.size()) : "";
  if (!why.empty()) why += " in this version";
  if (why.empty() && comm.size() > 1) why = shared_gpu(comm, gpu(device.index));
  if (asked && !why.empty()) fail_config(fmt::format("device.kind = cuda: {}; or set device.kind = cpu", why));
  if (!why.empty()) {
    log::warn("the GPU is left alone: {}", why);
    return Device::cpu();
  }
  use_gpu(device.index);
  return device;
}

std::string describe(Device device) {
  if (!device.is_cuda()) return "cpu";
  const Gpu info = gpu(device.index);
  return fmt::format("cuda: {}, {:.1f} GB", info.name, double(info.memory_bytes) / 1e9);
}

}  // namespace viaduct
