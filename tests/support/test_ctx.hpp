// A workspace with the sizes of a test.
#pragma once
#include "core/ops/workspace.hpp"

namespace viaduct::test {

struct TestCtx : Workspace {
  explicit TestCtx(DType dtype, Device device = Device::cpu(), int64_t arena_bytes = 64 << 20)
      : Workspace(device, arena_bytes, dtype) {}
  operator Ctx&() { return ctx; }
};

// For what wants a stream and works in host memory.
inline Stream& host_stream() {
  static Stream stream(Device::cpu());
  return stream;
}

}  // namespace viaduct::test
