// Clipping by global norm, as torch.nn.utils.clip_grad_norm_, for gradients that are still sums over `terms` loss
// terms.
#pragma once
#include <algorithm>
#include <cmath>

namespace viaduct {

struct Clipped {
  double norm = 0;   // of the mean gradient, before clipping
  double scale = 1;  // what the summed gradient is to be multiplied by: division and clipping in one
};

// squared_norm: of the summed gradient. max_norm 0: no clipping.
inline Clipped clip(double squared_norm, double terms, double max_norm) {
  double mean = terms > 0 ? 1 / terms : 0, norm = std::sqrt(squared_norm) * mean;
  return {norm, mean * (max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0)};
}

}  // namespace viaduct
