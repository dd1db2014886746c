// The one place that knows which backends are linked. An op checks its shapes, then hands over.
#pragma once
#include "core/device/context.hpp"

namespace viaduct::ops {

// Runs `cpu` on the CPU; on meta nothing runs, because shapes were all that was asked for.
template <class Cpu>
void run_on_device(Ctx& ctx, Cpu&& cpu) {
  switch (ctx.device().kind) {
    case Device::Kind::meta:
      return;
    case Device::Kind::cpu:
      return cpu();
    case Device::Kind::cuda:
      fail(Exit::config, "this build has no cuda device; set device.kind = cpu");
  }
}

// For an op with working memory that only its backend knows: on meta `cpu` runs too, asks for the same memory there and
// stops before it touches data.
template <class Cpu>
void run_or_plan(Ctx& ctx, Cpu&& cpu) {
  if (ctx.device().is_meta()) return cpu();
  run_on_device(ctx, cpu);
}

}  // namespace viaduct::ops
