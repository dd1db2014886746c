#include "train/batch_choice.hpp"

#include <algorithm>

#include "core/base/log.hpp"
#include "core/device/gpus.hpp"
#include "train/device_choice.hpp"
#include "train/host_memory.hpp"

namespace viaduct {
namespace {

// Free on the device of this rank, the ranks of a host sharing its memory.
int64_t free_bytes(Device device, Communicator& comm) {
  if (device.is_cuda()) return gpu(device.index).free_bytes;
  const int64_t neighbours = ranks_of_this_host(comm);
  const auto free = available_memory();
  if (!free) fail_config("train.batch_size = auto: this host does not say how much memory is free; give a number");
  return *free / neighbours;
}

// For which a global batch comes out that a checkpoint was saved with.
int64_t resumed_batch(const Config& config, const Checkpoint& checkpoint, int64_t ranks) {
  const int64_t global = checkpoint.state.integer("global_batch"), passes = config.train.accumulate * ranks;
  if (global % passes)
    fail_config(
        fmt::format("train.batch_size = auto: {} was saved with steps of {} samples, which {} ranks with "
                    "train.accumulate = {} cannot share evenly; resume with another number of either",
                    checkpoint.path.string(), global, ranks, config.train.accumulate));
  return global / passes;
}

}  // namespace

int64_t largest_planned_batch(const Config& given, const ModelSource& source, Device::Kind device, int rank, int ranks,
                              int64_t bytes) {
  Config config = given;
  return largest_where([&](int64_t batch_size) {
    config.train.batch_size = batch_size;
    const MemoryPlan plan =
        plan_memory(task_maker(source, config, ranks), step_shape(config, source.choice, device, true, rank, ranks));
    return (device == Device::Kind::cuda ? plan.on_device() : plan.total()) <= bytes / 10 * 9;
  });
}

void settle_batch_size(Config& config, const ModelSource& source, int64_t samples,
                       const std::optional<Checkpoint>& resumed, Communicator& comm) {
  if (config.train.batch_size > 0) return;
  if (resumed)
    return set(config, "train.batch_size", std::to_string(resumed_batch(config, *resumed, comm.size())),
               "auto, of the checkpoint");
  const Device device = choose_device(config, comm, true);
  const int64_t bytes = free_bytes(device, comm);
  int64_t fits = largest_planned_batch(config, source, device.kind, comm.rank(), comm.size(), bytes);
  for (const std::string& theirs : comm.all_gather_text(std::to_string(fits)))
    fits = std::min<int64_t>(fits, std::stoll(theirs));
  const double gib = double(bytes) / (1 << 30);
  if (fits == 0)
    fail_config(
        fmt::format("train.batch_size = auto: not even one sample fits into {:.2f} GiB; try train.recompute = "
                    "true or a smaller model",
                    gib));
  const int64_t epoch = ceil_div(samples, config.train.accumulate * comm.size());
  const std::string origin = epoch < fits ? "auto, the data are no more" : fmt::format("auto, of {:.2f} GiB free", gib);
  set(config, "train.batch_size", std::to_string(std::min(fits, epoch)), origin);
  log::info("batch size: {} a rank ({})", config.train.batch_size, origin);
}

}  // namespace viaduct
