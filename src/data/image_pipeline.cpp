#include "data/image_pipeline.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/check.hpp"
#include "core/base/philox.hpp"
#include "data/decode.hpp"
#include "data/mixing.hpp"
#include "data/resize_float.hpp"

namespace viaduct {
namespace {

int rounded(double x) { return int(std::nearbyint(x)); }  // half to even, as Python does

void flip_rows(uint8_t* pixels, int height, int width) {
  for (int y = 0; y < height; ++y, pixels += int64_t(width) * 3)
    for (int left = 0, right = width - 1; left < right; ++left, --right)
      std::swap_ranges(pixels + 3 * left, pixels + 3 * left + 3, pixels + 3 * right);
}

// Where a whole picture goes.
Placement placement_of(const ImageProcessor& p, int height, int width) {
  if (p.pipeline == PipelineKind::torchvision) return torchvision_placement(height, width, p.height);
  if (p.kind == ImageProcessor::Kind::bridgetower)
    return p.do_resize ? bridgetower_placement(height, width, p.shortest_edge, p.size_divisor, p.height)
                       : centred(height, width, p.height);
  if (!p.do_resize && (height != p.height || width != p.width))
    fail_input(
        fmt::format("is {} x {} pixels; with do_resize = false all must be {} x {}", height, width, p.height, p.width));
  return {p.height, p.width, 0, 0};
}

}  // namespace

Augment augment_named(std::string_view name) {
  if (name == "none") return Augment::none;
  if (name == "default") return Augment::standard;
  fail_config(fmt::format("data.augment = {}: expected none or default (random-resized-crop and flip)", name));
}

PipelineKind image_pipeline_named(std::string_view name) {
  if (name == "hf") return PipelineKind::hf;
  if (name == "torchvision") return PipelineKind::torchvision;
  fail_config(fmt::format("data.image_pipeline = {}: expected hf or torchvision", name));
}

ImageProcessor ImageProcessor::vit(int image_size) {
  ImageProcessor p;
  p.set_image_size(image_size);
  return p;
}

ImageProcessor ImageProcessor::bridgetower(int image_size) {
  ImageProcessor p{.kind = Kind::bridgetower,
                   .size_divisor = 32,
                   .resample = Resample::bicubic,
                   .mean{0.48145466f, 0.4578275f, 0.40821073f},  // OpenAI's CLIP
                   .std{0.26862954f, 0.26130258f, 0.27577711f}};
  p.set_image_size(image_size);
  return p;
}

void ImageProcessor::set_image_size(int image_size) {
  if (image_size != height || image_size != width) height = width = shortest_edge = image_size;
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

ImagePipeline::ImagePipeline(ImageProcessor processor, Augment augment, double random_erasing)
    : processor_(processor), augment_(augment), random_erasing_(random_erasing) {
  if (processor_.height < 1 || processor_.width < 1 || processor_.height > 8192 || processor_.width > 8192)
    fail_config(fmt::format("an image size of {} x {} for the model: expected 1 to 8192 pixels a side",
                            processor_.height, processor_.width));
  const bool rounds = processor_.kind == ImageProcessor::Kind::bridgetower && processor_.pipeline == PipelineKind::hf;
  if (rounds && processor_.shortest_edge < processor_.size_divisor)
    fail_config(fmt::format(
        "an image size of {} for the model: BridgeTower's image processor rounds sides down to a multiple of "
        "size_divisor = {}, so nothing would be left; take a larger one, or data.image_pipeline = torchvision",
        processor_.shortest_edge, processor_.size_divisor));
  if (processor_.resample == Resample::nearest)
    fail_config("resample = 0 (nearest) is not supported by the image processor; use 2 (bilinear) or 3 (bicubic)");
  if (processor_.pipeline == PipelineKind::torchvision) {
    if (processor_.resample != Resample::bilinear && processor_.resample != Resample::bicubic)
      fail_config(
          fmt::format("resample = {} of the image processor is not antialiased by torchvision: "
                      "data.image_pipeline = torchvision needs 2 (bilinear) or 3 (bicubic)",
                      int(processor_.resample)));
    if (processor_.height != processor_.width)
      fail_config(fmt::format("data.image_pipeline = torchvision crops to a square; the model's images are {} x {}",
                              processor_.height, processor_.width));
  }
}

void ImagePipeline::resize(ImageView in, const Placement& at, uint8_t* out) const {
  static thread_local Resizer pillow;  // they keep their scratch memory
  static thread_local FloatResizer torchvision;
  const int top = std::max(at.top, 0), left = std::max(at.left, 0);
  const Crop part{top, left, std::min(at.height, at.top + processor_.height) - top,
                  std::min(at.width, at.left + processor_.width) - left};
  if (part.height < processor_.height || part.width < processor_.width) std::fill_n(out, bytes(), uint8_t{0});
  const int64_t stride = int64_t(processor_.width) * 3;
  out += (top - at.top) * stride + (left - at.left) * 3;
  const ResizeTarget target{at.height, at.width, part};
  if (processor_.pipeline == PipelineKind::torchvision)
    torchvision.resize(in, target, processor_.resample, out, stride);
  else
    pillow.resize(in, target, processor_.resample, out, stride);
}

void ImagePipeline::run(std::span<const uint8_t> file, uint64_t key, uint8_t* out) const {
  const int height = processor_.height, width = processor_.width;
  const Image image = decode_image(file);
  const int64_t stride = int64_t(image.width) * 3;
  if (augment_ == Augment::standard) {
    const Crop crop = random_resized_crop(image.height, image.width, key);
    resize({image.row(crop.top) + 3 * crop.left, crop.height, crop.width, stride}, {height, width, 0, 0}, out);
    if (random_flip(key)) flip_rows(out, height, width);
    return erase(key, out);
  }
  const Placement placement = placement_of(processor_, image.height, image.width);
  if (placement.height < 1 || placement.width < 1)
    fail_input(
        fmt::format("is {} x {} pixels: too long and narrow, a side of it would shrink below {} pixels "
                    "(size_divisor of the image processor)",
                    image.height, image.width, processor_.size_divisor));
  resize({image.row(0), image.height, image.width, stride}, placement, out);
  erase(key, out);
}

void ImagePipeline::erase(uint64_t key, uint8_t* out) const {
  const Crop box = draw_erased(random_erasing_, processor_.height, processor_.width, key);
  std::array<uint8_t, 3> mean{};
  for (size_t c = 0; c < 3 && processor_.do_normalize; ++c)
    mean[c] = uint8_t(
        std::clamp(std::nearbyint(double(processor_.mean[c]) / (processor_.do_rescale ? processor_.rescale_factor : 1)),
                   0.0, 255.0));
  for (int y = box.top; y < box.top + box.height; ++y)
    for (int x = box.left; x < box.left + box.width; ++x)
      std::copy(mean.begin(), mean.end(), out + (int64_t(y) * processor_.width + x) * 3);
}

}  // namespace viaduct
