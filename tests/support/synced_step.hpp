// A step of gradient synchronisation as the trainer makes it, in host memory.
#pragma once
#include <utility>

#include "comm/grad_sync.hpp"
#include "core/ops/workspace.hpp"

namespace viaduct::test {

class SyncedStep {
 public:
  explicit SyncedStep(GradSync& sync) : sync_(sync) {}
  void begin(bool last_pass, StepTail mine = {}) {
    counts_[0] = double(mine.quarantined), counts_[1] = double(mine.stop);
    Tensor counts{counts_, {2}, DType::f64, Device::cpu()};
    sync_.begin(work_.ctx, last_pass ? counts : Tensor{}, std::exchange(first_pass_, last_pass), last_pass);
  }
  StepTail finish() { return StepTail::of(data<double>(sync_.finish())); }
  double squared_norm() {
    double sum = 0;
    sync_.squared_norm(work_.ctx, {&sum, {1}, DType::f64, Device::cpu()});
    return sum;
  }

 private:
  GradSync& sync_;
  Workspace work_{Device::cpu(), 1 << 20, DType::f32};
  double counts_[2] = {};
  bool first_pass_ = true;  // the next one
};

}  // namespace viaduct::test
