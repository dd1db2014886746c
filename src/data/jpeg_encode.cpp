#include "data/jpeg_encode.hpp"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>

#include <jpeglib.h>  // needs FILE from <cstdio>

#include "core/base/check.hpp"

namespace viaduct {

namespace {

// libjpeg reports errors by a callback that may not return; exceptions must not cross its C frames.
struct ErrorManager {
  jpeg_error_mgr base;
  std::jmp_buf escape;
  char message[JMSG_LENGTH_MAX];
};

void on_error(j_common_ptr info) {
  auto* errors = reinterpret_cast<ErrorManager*>(info->err);
  info->err->format_message(info, errors->message);
  std::longjmp(errors->escape, 1);
}

// Nothing in this frame needs a destructor, so that longjmp may leave it. On success *out is malloc'ed by libjpeg.
bool compress(const Image& image, int quality, ErrorManager& errors, unsigned char** out, unsigned long* bytes) {
  jpeg_compress_struct info;
  info.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = on_error;
  jpeg_create_compress(&info);
  if (setjmp(errors.escape)) {
    jpeg_destroy_compress(&info);
    return false;
  }
  jpeg_mem_dest(&info, out, bytes);
  info.image_width = JDIMENSION(image.width);
  info.image_height = JDIMENSION(image.height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  info.comp_info[0].h_samp_factor = info.comp_info[0].v_samp_factor = 1;
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = image.row(int(info.next_scanline));
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  return true;
}

}  // namespace

std::vector<uint8_t> encode_jpeg(const Image& image, int quality) {
  ErrorManager errors{};
  unsigned char* data = nullptr;
  unsigned long bytes = 0;
  bool ok = compress(image, quality, errors, &data, &bytes);
  std::vector<uint8_t> file(data, data + (ok ? bytes : 0));
  std::free(data);
  expect(ok,
         fmt::format("a {} x {} image could not be encoded as JPEG: {}", image.height, image.width, errors.message));
  return file;
}

}  // namespace viaduct
