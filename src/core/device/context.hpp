// What an op may use: where to run, where to put results, and what holds for the whole pass.
#pragma once
#include "core/base/phase_clock.hpp"
#include "core/device/arena.hpp"
#include "core/device/stream.hpp"

namespace viaduct {

namespace ops {
class PackedWeights;
}

struct Ctx {
  Stream& stream;
  Arena& arena;
  ops::PackedWeights& packed;   // weights in the layout that products want, renewed once per optimizer step
  DType dtype = DType::f32;     // of activations and of the compute copy of the parameters
  bool training = false;        // dropout is active
  Tensor sample_keys{};         // [B] int64: the Philox key of every sample of the batch; dropout draws from them
  PhaseClock* clock = nullptr;  // absent: nobody asks where the time goes

  void enter(Phase phase) {
    if (clock) clock->enter(phase);
  }

  Device device() const { return arena.device(); }
};

}  // namespace viaduct
