// Resampling of 8-bit RGB as torchvision's Resize does it on a uint8 tensor (transforms v1, antialias on, without
// torch's uint8 kernels): float weights, float sums, columns first, rounded once at the end. Bicubic overshoots are
// clamped to [0, 255]; the branch of the published BridgeTower script that starts from a PIL image computes the same in
// floats of [0, 1] and keeps them, which is the only difference.
#pragma once
#include <vector>

#include "data/resize.hpp"

namespace viaduct {

// As Resizer, bilinear and bicubic only.
class FloatResizer {
 public:
  void resize(ImageView in, const ResizeTarget&, Resample, uint8_t* out, int64_t stride);

 private:
  std::vector<float> pixels_;  // a few input rows as floats
  std::vector<float> rows_;    // the last resized ones, a ring
};

}  // namespace viaduct
