#include "comm/process.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "core/base/log.hpp"

namespace viaduct {

void prepare_process(char** argv) {
  require_cpu();
  if (std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
  ::setenv("OMP_WAIT_POLICY", "passive", 1);
  ::execv("/proc/self/exe", argv);
  log::warn("could not start again with OMP_WAIT_POLICY=passive ({}); set it yourself if ranks share cores",
            std::strerror(errno));
}

}  // namespace viaduct
