// The one thing Viaduct wants from a camera's metadata: which way is up.
#pragma once
#include <span>
#include <string_view>

#include "data/image.hpp"

namespace viaduct {

// EXIF orientation 1..8: from the TIFF structure, else from XMP, else 1. Damaged metadata counts as absent.
int read_orientation(std::span<const uint8_t> exif, std::string_view xmp);

// The image turned so that its first row is the top of the scene.
Image turn_upright(Image, int orientation);

}  // namespace viaduct
