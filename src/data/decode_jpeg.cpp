// libjpeg-turbo with Pillow's settings: accurate integer DCT, smooth chroma upsampling.
#include <csetjmp>
#include <cstdio>
#include <cstring>

// First: the numbers of jerror.h's messages depend on the version that jpeglib.h states (62 in Debian, 80 in Ubuntu).
#include <jpeglib.h>

#include <jerror.h>

#include "core/base/check.hpp"
#include "data/decode_formats.hpp"

namespace viaduct {
namespace {

// Owns libjpeg's state. Its errors arrive by longjmp, so the functions that call it own nothing themselves.
struct Decoder {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  jpeg_progress_mgr progress{};
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX] = "";

  explicit Decoder(std::span<const uint8_t> file);
  ~Decoder() { jpeg_destroy_decompress(&info); }
  Decoder(const Decoder&) = delete;
};

Decoder& owner(j_common_ptr info) { return *static_cast<Decoder*>(info->client_data); }

[[noreturn]] void give_up(j_common_ptr info, const char* message) {
  Decoder& decoder = owner(info);
  std::snprintf(decoder.message, sizeof decoder.message, "%s", message);
  std::longjmp(decoder.jump, 1);
}

[[noreturn]] void on_error(j_common_ptr info) {
  char text[JMSG_LENGTH_MAX];
  info->err->format_message(info, text);
  give_up(info, text);
}

// Where libjpeg would fill the rest of the picture with grey, the file is damaged. Other warnings are harmless.
void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;
  int code = info->err->msg_code;
  if (code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE || code == JWRN_MUST_RESYNC) on_error(info);
}

void on_progress(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMaxJpegScans)
    give_up(info, "more scans than a picture needs (a decoding bomb)");
}

boolean on_end_of_data(j_decompress_ptr info) {
  give_up(reinterpret_cast<j_common_ptr>(info), "truncated: the file ends before the picture does");
}

void skip_bytes(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  if (size_t(count) > info->src->bytes_in_buffer) on_end_of_data(info);
  info->src->next_input_byte += count;
  info->src->bytes_in_buffer -= size_t(count);
}

Decoder::Decoder(std::span<const uint8_t> file) {
  info.err = jpeg_std_error(&errors);
  errors.error_exit = on_error;
  errors.emit_message = on_message;
  info.client_data = this;
  source.next_input_byte = file.data();
  source.bytes_in_buffer = file.size();
  source.init_source = [](j_decompress_ptr) {};
  source.fill_input_buffer = on_end_of_data;
  source.skip_input_data = skip_bytes;
  source.resync_to_restart = jpeg_resync_to_restart;
  source.term_source = [](j_decompress_ptr) {};
  progress.progress_monitor = on_progress;
}

bool read_header(Decoder& d) {
  if (setjmp(d.jump)) return false;
  jpeg_create_decompress(&d.info);  // keeps err and client_data, clears the rest
  d.info.src = &d.source;
  d.info.progress = &d.progress;
  jpeg_save_markers(&d.info, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(&d.info, TRUE);
  d.info.out_color_space = d.info.num_components == 4 ? JCS_CMYK : JCS_RGB;
  return true;
}

void cmyk_to_rgb(const uint8_t* cmyk, uint8_t* rgb, int width);

// `line` holds one row of CMYK where the picture has four inks, and is null otherwise.
bool read_rows(Decoder& d, Image& image, uint8_t* line) {
  if (setjmp(d.jump)) return false;
  jpeg_start_decompress(&d.info);
  while (d.info.output_scanline < d.info.output_height) {
    uint8_t* row = image.row(int(d.info.output_scanline));
    JSAMPROW target = line ? line : row;
    if (jpeg_read_scanlines(&d.info, &target, 1) == 1 && line) cmyk_to_rgb(line, row, image.width);
  }
  return true;
}

// Inverted inks, as Adobe writes them and Pillow takes all of them to be.
void cmyk_to_rgb(const uint8_t* cmyk, uint8_t* rgb, int width) {
  for (int x = 0; x < width; ++x, cmyk += 4, rgb += 3) {
    int white = cmyk[3];
    for (int c = 0; c < 3; ++c) {
      int product = (255 - cmyk[c]) * white + 128;
      int value = white - (((product >> 8) + product) >> 8);
      rgb[c] = uint8_t(value < 0 ? 0 : value);
    }
  }
}

void take_metadata(const Decoder& d, Decoded& out) {
  constexpr char xmp[] = "http://ns.adobe.com/xap/1.0/";  // its closing zero belongs to the signature
  for (auto* m = d.info.marker_list; m; m = m->next) {
    if (m->data_length >= 6 && !std::memcmp(m->data, "Exif\0\0", 6))
      out.exif.insert(out.exif.end(), m->data + 6, m->data + m->data_length);  // long ones come in several markers
    else if (m->data_length >= sizeof xmp && !std::memcmp(m->data, xmp, sizeof xmp))
      out.xmp.assign(m->data + sizeof xmp, m->data + m->data_length);
  }
}

}  // namespace

Decoded decode_jpeg(std::span<const uint8_t> file) {
  Decoder decoder(file);
  if (!read_header(decoder)) fail_input(fmt::format("damaged JPEG: {}", decoder.message));
  check_image_size(decoder.info.image_height, decoder.info.image_width);
  if (int n = decoder.info.num_components; n != 1 && n != 3 && n != 4)
    fail_input(fmt::format("a JPEG of {} colour components; 1, 3 or 4 are read", n));
  Decoded out;
  take_metadata(decoder, out);
  out.image = Image(int(decoder.info.image_height), int(decoder.info.image_width));
  std::vector<uint8_t> line(decoder.info.num_components == 4 ? size_t(out.image.width) * 4 : 0);
  if (!read_rows(decoder, out.image, line.empty() ? nullptr : line.data()))
    fail_input(fmt::format("damaged JPEG: {}", decoder.message));
  return out;
}

}  // namespace viaduct
