// The one place that knows which backends are linked. An op checks its shapes, then hands over.
#pragma once
#include "core/device/context.hpp"

namespace viaduct::ops {

// Runs `cpu` on the CPU; on meta nothing runs, because shapes were all that was asked for.
template <class Cpu>
void run_on_device(Ctx& ctx, Cpu&& cpu) {
  switch (ctx.device().kind) {
    case Device::Kind::meta: return;
    case Device::Kind::cpu: return cpu();
    case Device::Kind::cuda: fail(Exit::config, "this build has no cuda device; set device.kind = cpu");
  }
}

}  // namespace viaduct::ops
