// A decoded picture: 8-bit RGB, row-major, the three channels of a pixel side by side (HWC).
#pragma once
#include <cstdint>
#include <memory>

namespace viaduct {

struct Image {
  int height = 0, width = 0;
  std::unique_ptr<uint8_t[]> pixels;  // not initialised: a decoder that fails half-way never touches the rest

  Image() = default;
  Image(int h, int w) : height(h), width(w), pixels(std::make_unique_for_overwrite<uint8_t[]>(size_t(h) * w * 3)) {}
  uint8_t* row(int y) const { return pixels.get() + size_t(y) * width * 3; }
  int64_t bytes() const { return int64_t(height) * width * 3; }
};

}  // namespace viaduct
