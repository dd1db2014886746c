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

Config with_model(const Invocation& call, const std::string& command) {
  Config config = call.config;
  if (!call.subjects.empty()) set(config, "model.pretrained", call.subjects[0], "command line");
  require(config, "model.pretrained", command);
  std::string run_model = config.model.pretrained + "/model";
  if (std::filesystem::exists(run_model + "/config.json")) config.model.pretrained = run_model;
  return config;
}

LoaderOptions evaluation_loader(const Invocation& call, const Engine& engine, const ThreadShare& threads,
                                int64_t samples) {
  const Config& config = call.config;
  return {.pass = Pass::evaluation,
          .batch_size = config.train.batch_size,
          .rank = call.world.rank,
          .ranks = call.world.size,
          .processor = engine.source().processor,
          .workers = config.data.workers < 0 ? automatic_workers(threads.threads) : int(config.data.workers),
          .quarantine_budget = samples};
}

}  // namespace viaduct::app
