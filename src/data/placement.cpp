// Python rounds every product; a fused multiply-add could carry a size over the next whole number.
#pragma GCC optimize("fp-contract=off")
#include "data/placement.hpp"

#include <algorithm>
#include <cmath>

namespace viaduct {

Placement bridgetower_placement(int height, int width, int shortest_edge, int size_divisor, int crop) {
  const double longest = std::floor(1333.0 / 800.0 * shortest_edge);
  const double scale = double(shortest_edge) / std::min(height, width);
  double h = height < width ? shortest_edge : scale * height, w = height < width ? scale * width : shortest_edge;
  if (std::max(h, w) > longest) {
    const double shrink = longest / std::max(h, w);
    h = shrink * h, w = shrink * w;
  }
  auto floored = [&](double side) { return int(side + 0.5) / size_divisor * size_divisor; };
  return centred(floored(h), floored(w), crop);
}

Placement centred(int height, int width, int crop) {
  auto half = [](int n) { return n >> 1; };  // towards minus infinity
  return {height, width, half(height - crop), half(width - crop)};
}

Placement torchvision_placement(int height, int width, int size) {
  const int longer = int(double(int64_t(size) * std::max(height, width)) / std::min(height, width));
  const int h = height < width ? size : longer, w = height < width ? longer : size;
  auto half = [](int n) { return int(std::nearbyint(n / 2.0)); };  // half to even, as Python's round; never negative
  return {h, w, half(h - size), half(w - size)};
}

}  // namespace viaduct
