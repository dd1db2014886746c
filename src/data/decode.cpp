#include "data/decode.hpp"

#include <algorithm>
#include <string_view>

#include "core/base/check.hpp"
#include "data/decode_formats.hpp"
#include "data/exif.hpp"

namespace viaduct {
namespace {

using namespace std::string_view_literals;

struct Kind {
  std::string_view magic;
  size_t offset;
  const char* name;
};
// What is often met in image folders and not read here.
constexpr Kind kOthers[] = {{"GIF8"sv, 0, "a GIF"},
                            {"BM"sv, 0, "a BMP"},
                            {"II*\0"sv, 0, "a TIFF"},
                            {"MM\0*"sv, 0, "a TIFF"},
                            {"ftypavif"sv, 4, "an AVIF"},
                            {"ftyphei"sv, 4, "a HEIC"},
                            {"ftypmif1"sv, 4, "a HEIC"},
                            {"\0\0\0\x0cjP"sv, 0, "a JPEG 2000"},
                            {"\xff\x0a"sv, 0, "a JPEG XL"},
                            {"JXL "sv, 4, "a JPEG XL"},
                            {"%PDF"sv, 0, "a PDF"},
                            {"PK\3\4"sv, 0, "a zip archive"},
                            {"version https://git-lfs"sv, 0, "a Git LFS pointer instead of the"}};

bool is_text(std::string_view head) {
  return std::all_of(head.begin(), head.end(), [](unsigned char c) { return c >= 0x20 || (c >= 9 && c <= 13); });
}

[[noreturn]] void fail_unknown(std::string_view file) {
  for (const Kind& kind : kOthers)
    if (file.size() > kind.offset && file.substr(kind.offset).starts_with(kind.magic))
      fail_input(fmt::format("is {} file; only JPEG, PNG and WebP are read", kind.name));
  if (is_text(file.substr(0, 256))) fail_input("is a text file, not a JPEG, PNG or WebP image");
  fail_input("is not a JPEG, PNG or WebP image (unknown first bytes)");
}

}  // namespace

void check_image_size(int64_t height, int64_t width) {
  if (height <= 0 || width <= 0) fail_input(fmt::format("the header says {} x {} pixels", width, height));
  if (height > kMaxImageSide || width > kMaxImageSide || height * width > kMaxImagePixels)
    fail_input(fmt::format("the header says {} x {} pixels; at most {} a side and {} in all are decoded", width, height,
                           kMaxImageSide, kMaxImagePixels));
}

Image decode_image(std::span<const uint8_t> bytes) {
  if (bytes.empty()) fail_input("is empty (0 bytes)");
  std::string_view file(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  Decoded decoded;
  if (file.starts_with("\xff\xd8\xff"sv))
    decoded = decode_jpeg(bytes);
  else if (file.starts_with("\x89PNG\r\n\x1a\n"sv))
    decoded = decode_png(bytes);
  else if (file.starts_with("RIFF"sv) && file.substr(0, 12).ends_with("WEBP"sv))
    decoded = decode_webp(bytes);
  else
    fail_unknown(file);
  return turn_upright(std::move(decoded.image), read_orientation(decoded.exif, decoded.xmp));
}

}  // namespace viaduct
