#include "train/fault.hpp"

#include <signal.h>
#include <unistd.h>

#include <limits>
#include <thread>

#include "core/base/check.hpp"
#include "core/device/host_copy.hpp"

namespace viaduct {
namespace {

constexpr std::chrono::milliseconds kSlow(200);

// The first value of every parameter, so that whatever the loss is made of has one.
void spoil(Engine& engine) {
  for (Parameter& p : engine.task().parameters().parameters()) {
    HostCopy first(p.value.reshape({p.value.numel()}).slice(0, 1), engine.work().stream, HostCopy::Fetch::no);
    dispatch(p.value.dtype, [&]<class T>() { *data<T>(first.tensor()) = T(std::numeric_limits<float>::quiet_NaN()); });
    first.store();
  }
  engine.work().packed.values_changed();
}

// In what the optimizer updates, so that it stays.
void flip_a_bit(Engine& engine) {
  Tensor master = engine.optimizer().master();
  if (master.numel() == 0) return;
  HostCopy first(master.slice(0, 1), engine.work().stream, HostCopy::Fetch::yes);
  *static_cast<uint32_t*>(first.tensor().data) ^= 1u << 20;
  first.store();
}

}  // namespace

void Fault::at(const char* phase, int64_t step, PhaseClock& clock, Engine& engine) {
  const std::string& kind = section_.kind;
  if (!mine_ || kind == "none" || kind == "mismatched_plan" || phase != section_.phase) return;
  if (step < section_.step) return;
  if (kind == "slow") return std::this_thread::sleep_for(kSlow);
  if (std::exchange(done_, true)) return;
  if (section_.phase == "step") clock.enter(Phase::forward);
  if (kind == "throw") fail(Exit::crash, fmt::format("fault.kind = throw at step {}: a failure on purpose", step));
  if (kind == "kill") ::raise(SIGKILL);
  if (kind == "stop") ::raise(SIGSTOP);
  if (kind == "hang")
    while (true) ::pause();
  if (kind == "nan") spoil(engine);
  if (kind == "bitflip") flip_a_bit(engine);
}

}  // namespace viaduct
