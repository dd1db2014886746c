#pragma once
#include <cstdint>
#include <vector>

#include "data/image.hpp"

namespace viaduct {

// A baseline JPEG file, 4:4:4 (no chroma subsampling: drawn edges keep their colour). quality 1..100.
std::vector<uint8_t> encode_jpeg(const Image&, int quality);

}  // namespace viaduct
