#include "data/image_pipeline.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/check.hpp"
#include "core/base/philox.hpp"
#include "data/decode.hpp"

namespace viaduct {
namespace {

int rounded(double x) { return int(std::nearbyint(x)); }  // half to even, as Python does

void flip_rows(uint8_t* pixels, int height, int width) {
  for (int y = 0; y < height; ++y, pixels += int64_t(width) * 3)
    for (int left = 0, right = width - 1; left < right; ++left, --right)
      std::swap_ranges(pixels + 3 * left, pixels + 3 * left + 3, pixels + 3 * right);
}

}  // namespace

Augment augment_named(std::string_view name) {
  if (name == "none") return Augment::none;
  if (name == "default") return Augment::standard;
  fail_config(fmt::format("data.augment = {}: expected none or default (random-resized-crop and flip)", name));
}

Crop random_resized_crop(int height, int width, uint64_t key) {
  constexpr double kScaleLow = 0.08, kScaleHigh = 1, kRatioLow = 3.0 / 4, kRatioHigh = 4.0 / 3;
  RandomSequence draws(key, Draw::crop);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = double(height) * width * draws.uniform(kScaleLow, kScaleHigh);
    const double ratio = std::exp(draws.uniform(std::log(kRatioLow), std::log(kRatioHigh)));
    const int w = rounded(std::sqrt(area * ratio)), h = rounded(std::sqrt(area / ratio));
    if (w <= 0 || w > width || h <= 0 || h > height) continue;
    const int top = int(draws.below(uint64_t(height - h + 1)));
    return {top, int(draws.below(uint64_t(width - w + 1))), h, w};
  }
  // Too long or too flat for all of them: the largest crop of a permitted ratio, from the centre.
  const double ratio = double(width) / height;
  int h = height, w = width;
  if (ratio < kRatioLow) h = rounded(w / kRatioLow);
  if (ratio > kRatioHigh) w = rounded(h * kRatioHigh);
  return {(height - h) / 2, (width - w) / 2, h, w};
}

bool random_flip(uint64_t key) { return RandomSequence(key, Draw::flip).uniform() < 0.5; }

ImagePipeline::ImagePipeline(ImageProcessor processor, Augment augment) : processor_(processor), augment_(augment) {
  if (processor_.height < 1 || processor_.width < 1 || processor_.height > 8192 || processor_.width > 8192)
    fail_config(fmt::format("an image size of {} x {} for the model: expected 1 to 8192 pixels a side",
                            processor_.height, processor_.width));
  if (processor_.resample == Resample::nearest)
    fail_config("resample = 0 (nearest) is not supported by the image processor; use 2 (bilinear) or 3 (bicubic)");
}

void ImagePipeline::run(std::span<const uint8_t> file, uint64_t key, uint8_t* out) const {
  const int height = processor_.height, width = processor_.width;
  const Image image = decode_image(file);
  const bool augments = augment_ == Augment::standard;
  if (!processor_.do_resize && !augments && (image.height != height || image.width != width))
    fail_input(fmt::format("is {} x {} pixels; with do_resize = false all must be {} x {}", image.height, image.width,
                           height, width));
  const Crop crop =
      augments ? random_resized_crop(image.height, image.width, key) : Crop{0, 0, image.height, image.width};
  const ImageView view{image.row(crop.top) + 3 * crop.left, crop.height, crop.width, int64_t(image.width) * 3};
  static thread_local Resizer resizer;  // keeps its scratch memory
  resizer.resize(view, height, width, processor_.resample, out);
  if (augments && random_flip(key)) flip_rows(out, height, width);
}

}  // namespace viaduct
