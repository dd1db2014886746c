// All that a Ctx points at, in one piece: what a program needs to run a model.
#pragma once
#include "core/device/context.hpp"
#include "core/ops/packed_weights.hpp"

namespace viaduct {

struct Workspace {
  Workspace(Device device, int64_t arena_bytes, DType dtype)
      : stream(device), arena(device, arena_bytes), packed(device), ctx{stream, arena, packed, dtype} {}
  Workspace(const Workspace&) = delete;

  Stream stream;
  Arena arena;
  ops::PackedWeights packed;
  Ctx ctx;
};

}  // namespace viaduct
