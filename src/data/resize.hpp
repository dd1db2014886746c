// Resampling of 8-bit RGB as Pillow 13 does it, bit for bit: fixed-point weights of 22 fractional bits, one pass per
// axis, rounded to 8 bits in between.
#pragma once
#include <cstdint>
#include <vector>

namespace viaduct {

enum class Resample { nearest = 0, lanczos = 1, bilinear = 2, bicubic = 3, box = 4, hamming = 5 };  // PIL's numbers

// Rows of RGB pixels in somebody else's image: the whole of it or a crop.
struct ImageView {
  const uint8_t* pixels = nullptr;
  int height = 0, width = 0;
  int64_t stride = 0;  // bytes from one row to the next
};

// Part of an image, in pixels.
struct Crop {
  int top = 0, left = 0, height = 0, width = 0;
  bool operator==(const Crop&) const = default;
};

// What a picture becomes: height x width pixels, of which only `part` is computed.
struct ResizeTarget {
  int height = 0, width = 0;
  Crop part;
};

// Writes the wanted part to `out`, its rows `stride` bytes apart. Keeps the memory of its last call: one object per
// thread.
class Resizer {
 public:
  void resize(ImageView in, const ResizeTarget&, Resample, uint8_t* out, int64_t stride);

 private:
  std::vector<uint8_t> between_;  // the result of the first pass
};

}  // namespace viaduct
