// Equal, to the byte, to what Pillow, transformers' image processors and torchvision make of the same files:
// tests/golden/preprocess.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "data/decode.hpp"
#include "data/image_pipeline.hpp"
#include "data/resize_float.hpp"
#include "tests/data/image_tools.hpp"
#include "tests/support/messages.hpp"

namespace viaduct::test {
namespace {

using testing::HasSubstr;

ImageView whole(const Image& image) { return {image.row(0), image.height, image.width, int64_t(image.width) * 3}; }

template <class R = Resizer>
std::vector<uint8_t> resized(ImageView in, int height, int width, Resample resample, Crop part) {
  std::vector<uint8_t> out(size_t(part.height) * part.width * 3);
  R().resize(in, {height, width, part}, resample, out.data(), int64_t(part.width) * 3);
  return out;
}

uint32_t crc_of_resized(const Image& image, int height, int width, Resample resample) {
  return crc32(resized(whole(image), height, width, resample, {0, 0, height, width}));
}

// The CRC of what the pipeline makes of a file, in hex; "-" where it refuses the picture's shape.
std::string processed(const ImageProcessor& processor, const std::vector<uint8_t>& file) {
  const ImagePipeline pipeline(processor, Augment::none);
  std::vector<uint8_t> pixels(size_t(pipeline.bytes()), 77);
  try {
    pipeline.run(file, 0, pixels.data());
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Exit::input);
    EXPECT_THAT(e.what(), HasSubstr("too long and narrow"));
    return "-";
  }
  return fmt::format("{:08x}", crc32(pixels));
}

ImageProcessor torchvision(ImageProcessor processor) {
  processor.pipeline = PipelineKind::torchvision;
  return processor;
}

int compare_with(const std::string& table, const std::filesystem::path& root) {
  const std::pair<const char*, ImageProcessor> processors[] = {
      {"BridgeTowerImageProcessor 288", ImageProcessor::bridgetower(288)},
      {"BridgeTowerImageProcessor 294", ImageProcessor::bridgetower(294)},
      {"torchvision bicubic 288", torchvision(ImageProcessor::bridgetower(288))},
      {"torchvision bicubic 294", torchvision(ImageProcessor::bridgetower(294))},
      {"torchvision bilinear 224", torchvision(ImageProcessor::vit(224))}};
  std::istringstream lines(read_bytes(source_path("tests/golden/" + table)));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    std::istringstream fields(line);
    std::string path, vit;
    int height = 0, width = 0;
    uint32_t decoded = 0, bicubic = 0, box = 0;
    std::getline(fields, path, '\t') >> height >> width >> std::hex >> decoded >> vit >> bicubic >> box;
    EXPECT_TRUE(fields) << table << ": " << line;
    const std::vector<uint8_t> file = file_bytes(root / path);
    const Image image = decode_image(file);
    EXPECT_EQ(image.height, height) << path;
    EXPECT_EQ(image.width, width) << path;
    EXPECT_EQ(crc32({image.row(0), size_t(image.bytes())}), decoded) << path << ": decoded pixels";
    EXPECT_EQ(processed({}, file), vit) << path << ": ViTImageProcessor, 224 x 224 bilinear";
    EXPECT_EQ(crc_of_resized(image, 61, 37, Resample::bicubic), bicubic) << path << ": bicubic";
    EXPECT_EQ(crc_of_resized(image, 40, 90, Resample::box), box) << path << ": box";
    for (const auto& [name, processor] : processors) {
      std::string expected;
      fields >> expected;
      EXPECT_EQ(processed(processor, file), expected) << path << ": " << name;
    }
  }
  return count;
}

TEST(Preprocess, OddImagesEqualPillowAndTransformers) {
  EXPECT_EQ(compare_with("preprocess.tsv", source_path("tests/golden/images")), 82);
}

TEST(Preprocess, PhotographsEqualPillowAndTransformers) {
  if (photo_folder().empty()) GTEST_SKIP() << "no photographs: VIADUCT_DATA is not set to the folder that holds them";
  EXPECT_EQ(compare_with("preprocess_photos.tsv", photo_folder()), 50);
}

// The naive form of one axis of the definition in reference, for sizes and crops that no golden file covers.
TEST(Preprocess, ACropIsResizedAsACopyOfIt) {
  const Image image = test_image(67, 83, 1);
  for (auto [top, left, height, width] : {Crop{0, 0, 67, 83}, Crop{5, 9, 1, 1}, Crop{66, 82, 1, 1}, Crop{3, 60, 64, 23},
                                          Crop{10, 0, 2, 83}, Crop{0, 81, 67, 2}, Crop{20, 20, 17, 5}}) {
    Image copy(height, width);
    for (int y = 0; y < height; ++y) std::copy_n(image.row(top + y) + 3 * left, width * 3, copy.row(y));
    for (int size : {1, 5, 17, 40, 100}) {
      const ImageView view{image.row(top) + 3 * left, height, width, int64_t(image.width) * 3};
      EXPECT_EQ(resized(view, size, size, Resample::bilinear, {0, 0, size, size}),
                resized(whole(copy), size, size, Resample::bilinear, {0, 0, size, size}))
          << height << " x " << width << " at " << top << ", " << left << " to " << size;
    }
  }
}

template <class R>
void expect_parts_of_the_whole() {
  const Image image = test_image(67, 83, 1);
  for (auto [height, width] : {std::pair{67, 83}, {67, 40}, {30, 83}, {40, 50}, {20, 80}, {120, 200}}) {
    const auto all = resized<R>(whole(image), height, width, Resample::bicubic, {0, 0, height, width});
    for (Crop part : {Crop{0, 0, 1, 1}, Crop{height - 1, width - 1, 1, 1}, Crop{3, 5, height - 3, 11},
                      Crop{height / 2, 0, 7, width}, Crop{1, width / 2, height / 2, width / 2}}) {
      std::vector<uint8_t> expected;
      for (int y = part.top; y < part.top + part.height; ++y) {
        const auto row = all.begin() + (int64_t(y) * width + part.left) * 3;
        expected.insert(expected.end(), row, row + int64_t(part.width) * 3);
      }
      EXPECT_EQ(resized<R>(whole(image), height, width, Resample::bicubic, part), expected)
          << height << " x " << width << ": " << part.height << " x " << part.width << " at " << part.top << ", "
          << part.left;
    }
  }
}

TEST(Preprocess, APartIsWhatTheWholeHoldsThere) {
  expect_parts_of_the_whole<Resizer>();
  expect_parts_of_the_whole<FloatResizer>();
}

TEST(Preprocess, BridgeTowersSizesAreTransformersOnes) {
  // From get_resize_output_image_size of transformers 4.56; the corner by hand.
  EXPECT_EQ(bridgetower_placement(480, 640, 288, 32, 288), (Placement{288, 384, 0, 48}));
  EXPECT_EQ(bridgetower_placement(480, 640, 294, 32, 294), (Placement{288, 384, -3, 45}));
  EXPECT_EQ(bridgetower_placement(640, 480, 294, 32, 294), (Placement{384, 288, 45, -3}));
  EXPECT_EQ(bridgetower_placement(500, 500, 294, 32, 294), (Placement{288, 288, -3, -3}));
  EXPECT_EQ(bridgetower_placement(333, 500, 294, 1, 294), (Placement{294, 441, 0, 73}));
  EXPECT_EQ(bridgetower_placement(1000, 100, 288, 32, 288), (Placement{448, 32, 80, -128}));  // 1333/800 of 288 at most
  EXPECT_EQ(bridgetower_placement(50, 900, 288, 32, 288), (Placement{0, 448, -144, 80}));
  EXPECT_EQ(centred(289, 287, 288), (Placement{289, 287, 0, -1}));  // the larger half of a border comes first
}

TEST(Preprocess, TorchvisionTruncatesTheLongerEdgeAndHalvesToEven) {
  EXPECT_EQ(torchvision_placement(480, 640, 294), (Placement{294, 392, 0, 49}));
  EXPECT_EQ(torchvision_placement(500, 333, 294), (Placement{441, 294, 74, 0}));  // 73.5
  EXPECT_EQ(torchvision_placement(426, 640, 288), (Placement{288, 432, 0, 72}));  // 432.7
  EXPECT_EQ(torchvision_placement(100, 103, 100), (Placement{100, 103, 0, 2}));   // 1.5
  EXPECT_EQ(torchvision_placement(100, 105, 100), (Placement{100, 105, 0, 2}));   // 2.5
}

// The picture of 480 x 640 loses six rows to the divisor at 294; they come back black, three above and three below.
TEST(Preprocess, TheBorderIsBlackBeforeNormalisation) {
  Image white(480, 640);
  std::fill_n(white.row(0), white.bytes(), uint8_t{255});
  const auto file = encode_jpeg(white, 95);
  const ImagePipeline pipeline(ImageProcessor::bridgetower(294), Augment::none);
  std::vector<uint8_t> pixels(size_t(pipeline.bytes()), 77);
  pipeline.run(file, 0, pixels.data());
  for (int y = 0; y < 294; ++y)
    for (int i = 0; i < 294 * 3; ++i) ASSERT_EQ(pixels[size_t(y * 294 * 3 + i)], y < 3 || y >= 291 ? 0 : 255) << y;
}

TEST(Preprocess, APictureWhoseSideWouldVanishIsAnInputError) {
  const auto file = encode_jpeg(test_image(50, 900, 1), 90);
  const ImagePipeline pipeline(ImageProcessor::bridgetower(288), Augment::none);
  std::vector<uint8_t> pixels(size_t(pipeline.bytes()));
  EXPECT_THAT(message_of([&] { pipeline.run(file, 0, pixels.data()); }), HasSubstr("is 50 x 900 pixels: too long"));
}

TEST(Preprocess, AugmentedPicturesAreResizedByTheChosenPipeline) {
  const auto file = encode_jpeg(test_image(60, 90, 3), 95);
  const Image image = decode_image(file);
  for (ImageProcessor processor : {ImageProcessor::bridgetower(48), torchvision(ImageProcessor::bridgetower(48))}) {
    const ImagePipeline pipeline(processor, Augment::standard);
    std::vector<uint8_t> pixels(size_t(pipeline.bytes()));
    uint64_t key = 1;
    while (random_flip(key)) ++key;
    pipeline.run(file, key, pixels.data());
    const Crop c = random_resized_crop(image.height, image.width, key);
    const ImageView view{image.row(c.top) + 3 * c.left, c.height, c.width, 90 * 3};
    EXPECT_EQ(pixels, processor.pipeline == PipelineKind::hf
                          ? resized<Resizer>(view, 48, 48, Resample::bicubic, {0, 0, 48, 48})
                          : resized<FloatResizer>(view, 48, 48, Resample::bicubic, {0, 0, 48, 48}));
  }
}

TEST(Preprocess, PipelinesAreNamedAndChecked) {
  EXPECT_EQ(image_pipeline_named("hf"), PipelineKind::hf);
  EXPECT_EQ(image_pipeline_named("torchvision"), PipelineKind::torchvision);
  EXPECT_THAT(message_of([] { image_pipeline_named("pil"); }, Exit::config),
              HasSubstr("pil: expected hf or torchvision"));
  ImageProcessor lanczos = torchvision({.resample = Resample::lanczos}), flat = torchvision({.height = 100});
  EXPECT_THAT(message_of([&] { ImagePipeline(lanczos, Augment::none); }, Exit::config),
              HasSubstr("needs 2 (bilinear) or 3 (bicubic)"));
  EXPECT_THAT(message_of([&] { ImagePipeline(flat, Augment::none); }, Exit::config), HasSubstr("images are 100 x 224"));
}

}  // namespace
}  // namespace viaduct::test
