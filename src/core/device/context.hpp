// What an op may use: where to run, where to put results, and what varies from step to step.
#pragma once
#include "core/base/phase_clock.hpp"
#include "core/device/arena.hpp"
#include "core/device/stream.hpp"

namespace viaduct {

namespace ops {
class PackedWeights;
}

// Everything that changes between steps and must survive the replay of a captured step (rule R4).
struct StepScalars {
  int64_t step = 0;  // optimizer steps done before this one
  float learning_rate = 0;
  float gradient_scale = 1;  // 1 / terms x clipping factor, known after the reduction
};

struct Ctx {
  Stream& stream;
  Arena& arena;
  ops::PackedWeights& packed;  // weights in the layout that products want, renewed once per optimizer step
  DType dtype = DType::f32;    // of activations and of the compute copy of the parameters
  bool training = false;       // dropout is active
  Tensor sample_keys{};        // [B] int64: the Philox key of every sample of the batch; dropout draws from them
  StepScalars scalars{};
  PhaseClock* clock = nullptr;  // absent: nobody asks where the time goes

  void enter(Phase phase) {
    if (clock) clock->enter(phase);
  }

  Device device() const { return arena.device(); }
};

}  // namespace viaduct
