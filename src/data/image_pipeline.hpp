// From a file's bytes to the uint8 pixels a model is given. Rescaling and normalisation are an op of the device.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "data/image.hpp"
#include "data/resize.hpp"

namespace viaduct {

// The fields of preprocessor_config.json that matter here; the defaults are ViTImageProcessor's.
struct ImageProcessor {
  bool do_resize = true, do_rescale = true, do_normalize = true;
  int height = 224, width = 224;
  Resample resample = Resample::bilinear;
  double rescale_factor = 1.0 / 255.0;
  std::array<float, 3> mean{0.5f, 0.5f, 0.5f}, std{0.5f, 0.5f, 0.5f};
};

enum class Augment {
  none,
  standard,  // random-resized-crop, scale (0.08, 1), ratio (3/4, 4/3), then a horizontal flip with probability 1/2
};
Augment augment_named(std::string_view name);  // the values of data.augment: none, default

// Part of an image, in pixels.
struct Crop {
  int top = 0, left = 0, height = 0, width = 0;
  bool operator==(const Crop&) const = default;
};

// torchvision's RandomResizedCrop.get_params, drawn from Draw::crop of the sample's key.
Crop random_resized_crop(int height, int width, uint64_t key);
bool random_flip(uint64_t key);

class ImagePipeline {
 public:
  ImagePipeline(ImageProcessor, Augment);
  int64_t bytes() const { return int64_t(processor_.height) * processor_.width * 3; }
  // Decodes, augments and resizes into out[height x width x 3]; `key` is sample_key(seed, epoch, sample).
  // What is wrong with the file is thrown as an input error. Safe to call from several threads.
  void run(std::span<const uint8_t> file, uint64_t key, uint8_t* out) const;

 private:
  ImageProcessor processor_;
  Augment augment_;
};

}  // namespace viaduct
