#include "app/setup.hpp"

#include <omp.h>

#include <filesystem>
#include <sstream>

#include "comm/launch_faults.hpp"
#include "core/base/log.hpp"
#include "core/device/gpus.hpp"

namespace viaduct::app {

namespace {

// Addresses of the GPUs that this rank sees; a driver that fails shows none here, and says why where one is wanted.
std::string visible_gpus() try {
  std::string addresses;
  for (int i = 0, n = gpu_count(); i < n; ++i) addresses += ' ' + gpu_address(i);
  return addresses;
} catch (const Error&) {
  return {};
}

// As the driver lists them, whatever CUDA_VISIBLE_DEVICES hides.
int host_gpus() {
  std::error_code none;
  std::filesystem::directory_iterator files("/proc/driver/nvidia/gpus", none);
  return none ? 0 : int(std::distance(begin(files), end(files)));
}

}  // namespace

ThreadShare place_ranks(const Invocation& call) {
  ThreadShare share = settle_threads(call.world, call.comm);
  if (call.config.device.threads > 0) {
    share.threads = int(call.config.device.threads);
    for (RankPlace& rank : share.ranks) rank.threads = share.threads;
    omp_set_num_threads(share.threads);
  }
  if (call.config.device.kind == "cpu") return share;
  const auto gpus = call.comm.all_gather_text(fmt::format("{}{}", host_gpus(), visible_gpus()));
  for (size_t rank = 0; rank < gpus.size(); ++rank) {
    std::istringstream text(gpus[rank]);
    text >> share.ranks[rank].host_gpus;
    for (std::string address; text >> address;) share.ranks[rank].gpus.push_back(address);
  }
  return share;
}

ThreadShare settle(const Invocation& call) {
  ThreadShare share = place_ranks(call);
  log::info("{}{}", describe(share.ranks),
            call.config.device.threads > 0 ? fmt::format("; device.threads = {}", call.config.device.threads) : "");
  if (call.world.rank == 0)
    for (const std::string& fault : launch_faults(share.ranks, launch_line())) log::warn("{}", fault);
  return share;
}

namespace {

// What a run was trained with and its model folder does not say. How a student learnt it need not know any more.
constexpr const char* kKeptKeys[] = {"task.name", "data.image_pipeline", "data.max_text_length", "train.batch_size",
                                     "train.seed"};  // the last two decide contrastive losses and drawn pairs

void take_from_run(Config& config) {
  Path path = Path(config.model.pretrained) / "config.cfg";
  if (!std::filesystem::exists(path)) return;
  Config run;
  read_config_file(run, path.string());
  for (const char* key : kKeptKeys)
    if (run.origins.contains(key) && !config.origins.contains(key) && value_text(run, key) != "distillation")
      set(config, key, value_text(run, key), path.string());
}

}  // namespace

Config with_model(const Invocation& call, const std::string& command) {
  Config config = call.config;
  if (!call.subjects.empty()) set(config, "model.pretrained", call.subjects[0], "command line");
  require(config, "model.pretrained", command);
  take_from_run(config);
  return settled(config);
}

}  // namespace viaduct::app
