#include "train/fault.hpp"

#include <signal.h>
#include <unistd.h>

#include "core/base/check.hpp"

namespace viaduct {

void inject_fault(const FaultSection& fault, int rank, int64_t step) {
  if (fault.kind == "none" || fault.rank != rank || fault.step != step) return;
  if (fault.kind == "throw")
    fail(Exit::crash, fmt::format("fault.kind = throw at step {}: a failure on purpose", step));
  if (fault.kind == "kill") raise(SIGKILL);
  if (fault.kind == "hang")
    while (true) pause();
}

}  // namespace viaduct
