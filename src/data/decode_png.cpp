#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "core/base/check.hpp"
#include "data/decode_formats.hpp"

namespace viaduct {
namespace {

// Owns libpng's state. Its errors arrive by longjmp, so the functions that call it own nothing themselves.
struct Decoder {
  std::span<const uint8_t> rest;
  png_structp png = nullptr;
  png_infop info = nullptr;
  char message[256] = "out of memory";

  explicit Decoder(std::span<const uint8_t> file);
  ~Decoder() { png_destroy_read_struct(&png, &info, nullptr); }
  Decoder(const Decoder&) = delete;
};

[[noreturn]] void on_error(png_structp png, png_const_charp text) {
  auto& decoder = *static_cast<Decoder*>(png_get_error_ptr(png));
  std::snprintf(decoder.message, sizeof decoder.message, "%s", text);
  png_longjmp(png, 1);
}

void on_read(png_structp png, png_bytep to, size_t count) {
  auto& decoder = *static_cast<Decoder*>(png_get_io_ptr(png));
  if (count > decoder.rest.size()) png_error(png, "truncated: the file ends before the picture does");
  std::memcpy(to, decoder.rest.data(), count);
  decoder.rest = decoder.rest.subspan(count);
}

Decoder::Decoder(std::span<const uint8_t> file) : rest(file) {
  png = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, [](png_structp, png_const_charp) {});
  if (png) info = png_create_info_struct(png);
}

// Sixteen-bit grey is clipped, not scaled: what Pillow does with its mode "I;16".
void clip_grey16(png_structp, png_row_infop row, png_bytep data) {
  for (size_t i = 0; i < size_t(row->width) * 3; ++i) data[i] = data[2 * i] ? 255 : data[2 * i + 1];
}

bool read_header(Decoder& d) {
  if (!d.info || setjmp(png_jmpbuf(d.png))) return false;
  png_set_read_fn(d.png, &d, on_read);
  png_set_user_limits(d.png, 0x7fffffff, 0x7fffffff);  // check_image_size() has better words
  png_set_chunk_malloc_max(d.png, 8'000'000);
  png_set_chunk_cache_max(d.png, 16);
  static constexpr png_byte unused[] = "iCCP\0sPLT\0hIST";  // never decompressed
  png_set_keep_unknown_chunks(d.png, PNG_HANDLE_CHUNK_NEVER, unused, 3);
  png_read_info(d.png, d.info);
  return true;
}

bool read_rows(Decoder& d, uint8_t** rows) {
  if (setjmp(png_jmpbuf(d.png))) return false;
  int colour = png_get_color_type(d.png, d.info), depth = png_get_bit_depth(d.png, d.info);
  if (colour == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(d.png);
  if (colour == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(d.png);
  if (!(colour & PNG_COLOR_MASK_COLOR)) png_set_gray_to_rgb(d.png);
  png_set_strip_alpha(d.png);
  if (depth == 16 && colour == PNG_COLOR_TYPE_GRAY) {
    png_set_read_user_transform_fn(d.png, clip_grey16);
    png_set_user_transform_info(d.png, nullptr, 8, 3);
  } else if (depth == 16) {
    png_set_strip_16(d.png);
  }
  png_set_interlace_handling(d.png);
  png_read_update_info(d.png, d.info);
  if (png_get_rowbytes(d.png, d.info) != size_t(png_get_image_width(d.png, d.info)) * 3)
    png_error(d.png, "the pixels did not become 8-bit RGB");
  png_read_image(d.png, rows);
  png_read_end(d.png, d.info);
  return true;
}

// "Raw profile type exif": a newline, the name, the length, then hexadecimal digits in lines.
std::vector<uint8_t> parse_hex_profile(std::string_view text) {
  for (int line = 0; line < 3; ++line) {
    size_t end = text.find('\n');
    if (end == text.npos) return {};
    text.remove_prefix(end + 1);
  }
  std::vector<uint8_t> bytes;
  int digits = 0, value = 0;
  for (char c : text) {
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (digit < 0) continue;
    value = value << 4 | digit;
    if (++digits == 2) bytes.push_back(uint8_t(value)), digits = value = 0;
  }
  return bytes;
}

void take_metadata(Decoder& d, Decoded& out) {
  png_uint_32 size = 0;
  png_bytep exif = nullptr;
  if (png_get_eXIf_1(d.png, d.info, &size, &exif)) out.exif.assign(exif, exif + size);
  png_textp texts = nullptr;
  int count = 0;
  png_get_text(d.png, d.info, &texts, &count);
  for (int i = 0; i < count; ++i) {
    std::string_view key = texts[i].key;
    std::string_view text(texts[i].text, texts[i].itxt_length ? texts[i].itxt_length : texts[i].text_length);
    if (key == "XML:com.adobe.xmp") out.xmp = text;
    if (key == "Raw profile type exif" && out.exif.empty()) out.exif = parse_hex_profile(text);
  }
}

}  // namespace

Decoded decode_png(std::span<const uint8_t> file) {
  Decoder decoder(file);
  if (!read_header(decoder)) fail_input(fmt::format("damaged PNG: {}", decoder.message));
  check_image_size(png_get_image_height(decoder.png, decoder.info), png_get_image_width(decoder.png, decoder.info));
  Decoded out;
  out.image =
      Image(int(png_get_image_height(decoder.png, decoder.info)), int(png_get_image_width(decoder.png, decoder.info)));
  std::vector<uint8_t*> rows(size_t(out.image.height));
  for (int y = 0; y < out.image.height; ++y) rows[size_t(y)] = out.image.row(y);
  if (!read_rows(decoder, rows.data())) fail_input(fmt::format("damaged PNG: {}", decoder.message));
  take_metadata(decoder, out);
  return out;
}

}  // namespace viaduct
