// Which input pixels an output pixel is made of, along one axis, and with which weights.
#pragma once
#include <cstdint>
#include <vector>

#include "core/base/range.hpp"
#include "data/resize.hpp"

namespace viaduct {

struct ResizeWeights {
  static constexpr int kPrecision = 32 - 8 - 2;  // fractional bits of a weight; a sum of products fits in 32 bits
  static constexpr int kSplit = 11;              // weight = high x 2^11 + low, both in 16 bits

  int taps = 0;                    // weights stored per output, a multiple of 4; those after `count` are zero
  std::vector<int> first, count;   // [out]
  std::vector<int32_t> value;      // [out][taps]
  std::vector<int16_t> high, low;  // the same, split

  // The input pixels that are used; from then on `first` counts from the beginning of these.
  Range rebase();
};

// Of the outputs `wanted`, a part of [0, out).
ResizeWeights resize_weights(int in, int out, Resample, Range wanted);

}  // namespace viaduct
