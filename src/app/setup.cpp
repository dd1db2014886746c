#include "app/setup.hpp"

#include <omp.h>

#include <filesystem>

#include "core/base/log.hpp"

namespace viaduct::app {

ThreadShare settle(const Invocation& call) {
  ThreadShare share = settle_threads(call.world, call.comm);
  if (call.config.device.threads > 0) {
    share.threads = int(call.config.device.threads);
    share.line += fmt::format("; device.threads = {}", share.threads);
    omp_set_num_threads(share.threads);
  }
  log::info("{}", share.line);
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
