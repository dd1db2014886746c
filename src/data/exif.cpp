#include "data/exif.hpp"

#include <cstring>
#include <optional>
#include <string>

namespace viaduct {
namespace {

constexpr uint32_t kOrientationTag = 0x0112, kShort = 3, kLong = 4;

// Bounds-checked integers of either byte order.
class Tiff {
 public:
  explicit Tiff(std::span<const uint8_t> bytes) : bytes_(bytes), little_(!bytes.empty() && bytes[0] == 'I') {}
  std::optional<uint32_t> read(size_t offset, int size) const {
    if (offset > bytes_.size() || bytes_.size() - offset < size_t(size)) return {};
    uint32_t value = 0;
    for (int i = 0; i < size; ++i) value |= uint32_t(bytes_[offset + i]) << 8 * (little_ ? i : size - 1 - i);
    return value;
  }

 private:
  std::span<const uint8_t> bytes_;
  bool little_;
};

std::optional<uint32_t> orientation_in_tiff(std::span<const uint8_t> bytes) {
  while (bytes.size() >= 6 && !std::memcmp(bytes.data(), "Exif\0\0", 6)) bytes = bytes.subspan(6);
  if (bytes.size() < 8 || (std::memcmp(bytes.data(), "II*\0", 4) && std::memcmp(bytes.data(), "MM\0*", 4))) return {};
  Tiff tiff(bytes);
  size_t directory = *tiff.read(4, 4);
  uint32_t entries = tiff.read(directory, 2).value_or(0);
  for (uint32_t i = 0; i < entries; ++i) {
    size_t entry = directory + 2 + 12 * size_t(i);
    if (tiff.read(entry, 2) != kOrientationTag) continue;
    auto type = tiff.read(entry + 2, 2);
    if (tiff.read(entry + 4, 4) != 1u) return {};
    if (type == kShort) return tiff.read(entry + 8, 2);
    if (type == kLong) return tiff.read(entry + 8, 4);
    return {};
  }
  return {};
}

// The first tiff:Orientation="6" or <tiff:Orientation>6</...>, by Pillow's rule.
std::optional<uint32_t> orientation_in_xmp(std::string_view xmp) {
  constexpr std::string_view name = "tiff:Orientation";
  for (size_t at = 0; (at = xmp.find(name, at)) != xmp.npos; ++at) {
    std::string_view rest = xmp.substr(at + name.size());
    size_t skip = rest.starts_with("=\"") ? 2 : rest.starts_with(">") ? 1 : 0;
    if (skip && rest.size() > skip && rest[skip] >= '0' && rest[skip] <= '9') return uint32_t(rest[skip] - '0');
  }
  return {};
}

}  // namespace

int read_orientation(std::span<const uint8_t> exif, std::string_view xmp) {
  auto value = orientation_in_tiff(exif);
  if (!value) value = orientation_in_xmp(xmp);
  return value && *value >= 1 && *value <= 8 ? int(*value) : 1;
}

Image turn_upright(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const bool swaps = orientation >= 5;  // rows become columns
  // Which way the stored image is walked while the upright one is written from its top left corner.
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const int64_t row = int64_t(image.width) * 3 * (from_bottom ? -1 : 1), column = from_right ? -3 : 3;
  const uint8_t* start = image.row(from_bottom ? image.height - 1 : 0) + (from_right ? 3 * (image.width - 1) : 0);
  const int64_t step_y = swaps ? column : row, step_x = swaps ? row : column;

  Image upright = swaps ? Image(image.width, image.height) : Image(image.height, image.width);
  for (int y = 0; y < upright.height; ++y) {
    const uint8_t* from = start + y * step_y;
    uint8_t* to = upright.row(y);
    for (int x = 0; x < upright.width; ++x, from += step_x, to += 3) to[0] = from[0], to[1] = from[1], to[2] = from[2];
  }
  return upright;
}

}  // namespace viaduct
