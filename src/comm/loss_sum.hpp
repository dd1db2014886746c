// A sum of losses in fixed point, as the step tail has it: exact for doubles up to 2^50, and so the same in any order and
// division. In host memory.
#pragma once
#include "core/ops/step_tail_digits.hpp"
#include "core/tensor/tensor.hpp"

namespace viaduct {

class LossSum {
 public:
  void add(double loss) {
    if (std::abs(loss) < 0x1p50)  // false for NaN
      units_ += ops::step_tail::to_fixed(loss);
    else
      finite_ = false;
  }
  bool finite() const { return finite_; }
  // In the place of the loss of a step tail, fp32.
  void write(const Tensor& slot) const {
    ops::step_tail::put(data<float>(slot), ops::step_tail::Wide(units_), ops::step_tail::kLossDigits);
  }

 private:
  __int128 units_ = 0;
  bool finite_ = true;
};

}  // namespace viaduct
