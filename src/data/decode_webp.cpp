#include <webp/decode.h>
#include <webp/demux.h>

#include <cstring>
#include <memory>

#include "core/base/check.hpp"
#include "data/decode_formats.hpp"

namespace viaduct {
namespace {

using Demuxer = std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)>;

template <class Bytes>
void take_chunk(const Demuxer& demuxer, const char* name, Bytes& out) {
  WebPChunkIterator chunk{};
  if (WebPDemuxGetChunk(demuxer.get(), name, 1, &chunk))
    out.assign(chunk.chunk.bytes, chunk.chunk.bytes + chunk.chunk.size);
  WebPDemuxReleaseChunkIterator(&chunk);
}

}  // namespace

Decoded decode_webp(std::span<const uint8_t> file) {
  WebPData data{file.data(), file.size()};
  Demuxer demuxer(WebPDemux(&data), WebPDemuxDelete);
  if (!demuxer) fail_input("damaged WebP: the file is truncated or its chunks do not fit together");
  const int64_t height = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT);
  const int64_t width = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH);
  check_image_size(height, width);

  WebPIterator frame{};  // the first one, where the file is an animation
  std::unique_ptr<WebPIterator, decltype(&WebPDemuxReleaseIterator)> release(&frame, WebPDemuxReleaseIterator);
  WebPBitstreamFeatures features{};
  if (!WebPDemuxGetFrame(demuxer.get(), 1, &frame) ||
      WebPGetFeatures(frame.fragment.bytes, frame.fragment.size, &features) != VP8_STATUS_OK)
    fail_input("damaged WebP: no picture in it");
  if (features.width != frame.width || features.height != frame.height || frame.x_offset < 0 || frame.y_offset < 0 ||
      frame.x_offset + int64_t(frame.width) > width || frame.y_offset + int64_t(frame.height) > height)
    fail_input("damaged WebP: the first frame lies outside the canvas");

  Decoded out;
  out.image = Image(int(height), int(width));
  if (frame.width != width || frame.height != height) std::memset(out.image.pixels.get(), 0, size_t(out.image.bytes()));
  const size_t stride = size_t(width) * 3;
  const size_t offset = size_t(frame.y_offset) * stride + size_t(frame.x_offset) * 3;
  if (!WebPDecodeRGBInto(frame.fragment.bytes, frame.fragment.size, out.image.pixels.get() + offset,
                         size_t(out.image.bytes()) - offset, int(stride)))
    fail_input("damaged WebP: the picture cannot be decoded");
  take_chunk(demuxer, "EXIF", out.exif);
  take_chunk(demuxer, "XMP ", out.xmp);
  return out;
}

}  // namespace viaduct
