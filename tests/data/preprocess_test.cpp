// Equal, to the byte, to what Pillow and transformers' image processor make of the same files:
// tests/golden/preprocess.py.
#include <gtest/gtest.h>

#include <sstream>

#include "data/decode.hpp"
#include "data/image_pipeline.hpp"
#include "tests/data/image_tools.hpp"

namespace viaduct::test {
namespace {

uint32_t crc_of_resized(const Image& image, int height, int width, Resample resample) {
  std::vector<uint8_t> out(size_t(height) * width * 3);
  ImageView all{image.row(0), image.height, image.width, int64_t(image.width) * 3};
  Resizer().resize(all, height, width, resample, out.data());
  return crc32(out);
}

int compare_with(const std::string& table, const std::filesystem::path& root) {
  std::istringstream lines(read_bytes(source_path("tests/golden/" + table)));
  const ImagePipeline hf({}, Augment::none);
  std::vector<uint8_t> pixels(size_t(hf.bytes()));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    std::istringstream fields(line);
    std::string path;
    int height = 0, width = 0;
    uint32_t decoded = 0, processed = 0, bicubic = 0, box = 0;
    std::getline(fields, path, '\t') >> height >> width >> std::hex >> decoded >> processed >> bicubic >> box;
    EXPECT_TRUE(fields) << table << ": " << line;
    const std::vector<uint8_t> file = file_bytes(root / path);
    const Image image = decode_image(file);
    EXPECT_EQ(image.height, height) << path;
    EXPECT_EQ(image.width, width) << path;
    EXPECT_EQ(crc32({image.row(0), size_t(image.bytes())}), decoded) << path << ": decoded pixels";
    hf.run(file, 0, pixels.data());
    EXPECT_EQ(crc32(pixels), processed) << path << ": ViTImageProcessor, 224 x 224 bilinear";
    EXPECT_EQ(crc_of_resized(image, 61, 37, Resample::bicubic), bicubic) << path << ": bicubic";
    EXPECT_EQ(crc_of_resized(image, 40, 90, Resample::box), box) << path << ": box";
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
      std::vector<uint8_t> from_view(size_t(size) * size * 3), from_copy(from_view.size());
      ImageView view{image.row(top) + 3 * left, height, width, int64_t(image.width) * 3};
      Resizer resizer;
      resizer.resize(view, size, size, Resample::bilinear, from_view.data());
      resizer.resize({copy.row(0), height, width, int64_t(width) * 3}, size, size, Resample::bilinear,
                     from_copy.data());
      EXPECT_EQ(from_view, from_copy) << height << " x " << width << " at " << top << ", " << left << " to " << size;
    }
  }
}

}  // namespace
}  // namespace viaduct::test
