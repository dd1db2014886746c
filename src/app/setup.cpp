#include "app/setup.hpp"

#include <omp.h>

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
  return config;
}

}  // namespace viaduct::app
