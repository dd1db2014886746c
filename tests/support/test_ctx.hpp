// What an op needs to run, in one piece.
#pragma once
#include "core/device/context.hpp"
#include "core/ops/packed_weights.hpp"

namespace viaduct::test {

struct TestCtx {
  explicit TestCtx(DType dtype, Device device = Device::cpu(), int64_t arena_bytes = 64 << 20)
      : stream(device), arena(device, arena_bytes), packed(device), ctx{stream, arena, packed, dtype} {}
  operator Ctx&() { return ctx; }

  Stream stream;
  Arena arena;
  ops::PackedWeights packed;
  Ctx ctx;
};

}  // namespace viaduct::test
