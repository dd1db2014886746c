// Bytes of a JPEG, PNG or WebP file to an upright RGB image, as Pillow's ImageOps.exif_transpose(image).convert("RGB")
// gives it, bit for bit. The format is told by the first bytes, never by the name.
#pragma once
#include <span>

#include "data/image.hpp"

namespace viaduct {

// Limits checked against the header, before memory is asked for.
inline constexpr int kMaxImageSide = 65'500;                  // libjpeg's own
inline constexpr int64_t kMaxImagePixels = 2 * 89'478'485ll;  // where Pillow calls a file a decompression bomb
inline constexpr int kMaxJpegScans = 100;                     // a progressive file has about ten

// Throws an input error that says what is wrong with the file, without its name.
Image decode_image(std::span<const uint8_t> file);

}  // namespace viaduct
