// From a file's bytes to the uint8 pixels a model is given. Rescaling and normalisation are an op of the device.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "data/image.hpp"
#include "data/placement.hpp"
#include "data/resize.hpp"

namespace viaduct {

// Whose resize, crop and rounding to reproduce: transformers' (slow) image processors, which use Pillow, or torchvision's
// Resize and CenterCrop on a tensor, as the published BridgeTower script does.
enum class PipelineKind { hf, torchvision };
PipelineKind image_pipeline_named(std::string_view name);  // the values of data.image_pipeline: hf, torchvision

// The fields of preprocessor_config.json that matter here. The torchvision pipeline takes only the size that the model
// gets, resample, and what the normalisation needs. do_pad has no effect: all images of a model have one size.
struct ImageProcessor {
  enum class Kind {
    vit,          // ViTImageProcessor: resized to height x width, the ratio of the sides is not kept
    bridgetower,  // BridgeTowerImageProcessor: the shorter edge resized, then a centre crop of height x width
  };
  Kind kind = Kind::vit;
  PipelineKind pipeline = PipelineKind::hf;
  bool do_resize = true, do_rescale = true, do_normalize = true;
  int height = 224, width = 224;              // what the model gets; equal but for ViT's
  int shortest_edge = 224, size_divisor = 1;  // bridgetower only
  Resample resample = Resample::bilinear;
  double rescale_factor = 1.0 / 255.0;
  std::array<float, 3> mean{0.5f, 0.5f, 0.5f}, std{0.5f, 0.5f, 0.5f};

  // The defaults of the two classes, for a model of that size.
  static ImageProcessor vit(int image_size);
  static ImageProcessor bridgetower(int image_size);
  // The model gets another size than the file says: both the shorter edge and the crop become it.
  void set_image_size(int image_size);
};

enum class Augment {
  none,
  standard,  // random-resized-crop, scale (0.08, 1), ratio (3/4, 4/3), then a horizontal flip with probability 1/2
};
Augment augment_named(std::string_view name);  // the values of data.augment: none, default

// torchvision's RandomResizedCrop.get_params, drawn from Draw::crop of the sample's key.
Crop random_resized_crop(int height, int width, uint64_t key);
bool random_flip(uint64_t key);

class ImagePipeline {
 public:
  // random_erasing: the probability with which a rectangle becomes the pixel that is nearest to 0 when normalised.
  ImagePipeline(ImageProcessor, Augment, double random_erasing = 0);
  int64_t bytes() const { return int64_t(processor_.height) * processor_.width * 3; }
  // Decodes, augments, resizes, crops and erases into out[height x width x 3]; `key` is sample_key(seed, epoch, sample).
  // What is wrong with the file is thrown as an input error. Safe to call from several threads.
  void run(std::span<const uint8_t> file, uint64_t key, uint8_t* out) const;

 private:
  void resize(ImageView, const Placement&, uint8_t* out) const;
  void erase(uint64_t key, uint8_t* out) const;

  ImageProcessor processor_;
  Augment augment_;
  double random_erasing_;
};

}  // namespace viaduct
