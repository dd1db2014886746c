// One decoder per format; decode.cpp chooses.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "data/decode.hpp"

namespace viaduct {

struct Decoded {
  Image image;                // as stored, not yet turned upright
  std::vector<uint8_t> exif;  // a TIFF structure, perhaps behind "Exif\0\0"; empty where there is none
  std::string xmp;
};

Decoded decode_jpeg(std::span<const uint8_t> file);
Decoded decode_png(std::span<const uint8_t> file);
Decoded decode_webp(std::span<const uint8_t> file);

void check_image_size(int64_t height, int64_t width);

}  // namespace viaduct
