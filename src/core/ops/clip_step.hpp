// The arithmetic of ops::clip, the same on every device.
#pragma once
#include <cmath>

#include "core/base/philox.hpp"
#include "core/ops/step_tail.hpp"
#include "core/ops/update.hpp"

namespace viaduct::ops {

VIADUCT_HD inline void clip_step(double* scalars, double squared_norm, const double* sums) {
  double terms = sums[step_sum::terms], mean = terms > 0 ? 1 / terms : 0, norm = std::sqrt(squared_norm) * mean;
  double max_norm = scalars[step_scalar::max_norm], factor = max_norm / (norm + 1e-6);
  bool sound = std::isfinite(norm) && sums[step_sum::nonfinite] == 0;
  scalars[step_scalar::grad_norm] = norm;
  scalars[step_scalar::grad_scale] = sound ? mean * (max_norm > 0 && factor < 1 ? factor : 1) : std::nan("");
}

}  // namespace viaduct::ops
