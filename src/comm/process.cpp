#include "comm/process.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "core/base/log.hpp"

namespace viaduct {

void prepare_process(char** argv) {
  require_cpu();
  if (std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
  ::setenv("OMP_WAIT_POLICY", "passive", 1);
  ::setenv("GOMP_SPINCOUNT", "1000", 1);
  std::error_code unknown;  // by its own name, which `ps` and `pkill` then show
  std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", unknown);
  ::execv(unknown ? "/proc/self/exe" : self.c_str(), argv);
  log::warn("could not start again with OMP_WAIT_POLICY=passive ({}); set it yourself if ranks share cores",
            std::strerror(errno));
}

}  // namespace viaduct
