// A workspace with the sizes of a test.
#pragma once
#include "core/ops/workspace.hpp"

namespace viaduct::test {

struct TestCtx : Workspace {
  explicit TestCtx(DType dtype, Device device = Device::cpu(), int64_t arena_bytes = 64 << 20)
      : Workspace(device, arena_bytes, dtype) {}
  operator Ctx&() { return ctx; }
};

}  // namespace viaduct::test
