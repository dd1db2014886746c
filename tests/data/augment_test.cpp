#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "data/decode.hpp"
#include "data/image_pipeline.hpp"
#include "tests/data/image_tools.hpp"

namespace viaduct::test {
namespace {

TEST(Augment, CropsKeepScaleAndRatio) {
  constexpr int kHeight = 375, kWidth = 500, kDraws = 40000;
  double area = 0, log_ratio = 0;
  for (uint64_t i = 0; i < kDraws; ++i) {
    const Crop c = random_resized_crop(kHeight, kWidth, sample_key(1, 0, i));
    ASSERT_GE(c.top, 0);
    ASSERT_GE(c.left, 0);
    ASSERT_LE(c.top + c.height, kHeight);
    ASSERT_LE(c.left + c.width, kWidth);
    const double share = double(c.height) * c.width / (kHeight * kWidth), ratio = double(c.width) / c.height;
    ASSERT_GT(share, 0.075);
    ASSERT_GT(ratio, 0.73);
    ASSERT_LT(ratio, 1.36);
    area += share / kDraws, log_ratio += std::log(ratio) / kDraws;
  }
  // The means of 200,000 draws of torchvision's algorithm; four standard errors.
  EXPECT_NEAR(area, 0.4331, 0.0045);
  EXPECT_NEAR(log_ratio, 0.0308, 0.0033);
}

TEST(Augment, LongPicturesAreCroppedFromTheCentre) {
  EXPECT_EQ(random_resized_crop(1, 1000, 7), (Crop{0, (1000 - 1) / 2, 1, 1}));
  EXPECT_EQ(random_resized_crop(900, 12, 7), (Crop{(900 - 16) / 2, 0, 16, 12}));
  EXPECT_EQ(random_resized_crop(1, 1, 7), (Crop{0, 0, 1, 1}));
}

TEST(Augment, CropAndFlipAreFunctionsOfTheKey) {
  const auto file = encode_jpeg(test_image(60, 90, 3), 95);
  const Image image = decode_image(file);
  const ImagePipeline pipeline({.height = 32, .width = 48}, Augment::standard);
  std::set<uint32_t> seen;
  int flips = 0;
  for (uint64_t i = 0; i < 40; ++i) {
    const uint64_t key = sample_key(9, 2, i);
    std::vector<uint8_t> pixels(size_t(pipeline.bytes())), expected(pixels.size());
    pipeline.run(file, key, pixels.data());
    const Crop c = random_resized_crop(image.height, image.width, key);
    Resizer().resize({image.row(c.top) + 3 * c.left, c.height, c.width, 90 * 3}, {32, 48, {0, 0, 32, 48}},
                     Resample::bilinear, expected.data(), 48 * 3);
    const bool flip = random_flip(key);
    flips += flip;
    for (int y = 0; y < 32; ++y)
      for (int x = 0; x < 48; ++x)
        for (int ch = 0; ch < 3; ++ch)
          ASSERT_EQ(pixels[size_t((y * 48 + (flip ? 47 - x : x)) * 3 + ch)], expected[size_t((y * 48 + x) * 3 + ch)]);
    seen.insert(crc32(pixels));
  }
  EXPECT_EQ(seen.size(), 40u);
  EXPECT_GT(flips, 10);
  EXPECT_LT(flips, 30);
}

TEST(Augment, OptionsAreChecked) {
  EXPECT_EQ(augment_named("none"), Augment::none);
  EXPECT_EQ(augment_named("default"), Augment::standard);
  auto code_of = [](auto&& f) {
    try {
      f();
    } catch (const Error& e) {
      return e.code();
    }
    return Exit::ok;
  };
  EXPECT_EQ(code_of([] { augment_named("mixup"); }), Exit::config);
  EXPECT_EQ(code_of([] { ImagePipeline({.resample = Resample::nearest}, Augment::none); }), Exit::config);
  EXPECT_EQ(code_of([] { ImagePipeline({.height = 0}, Augment::none); }), Exit::config);
  const ImagePipeline fixed({.do_resize = false, .height = 20, .width = 30}, Augment::none);
  std::vector<uint8_t> out(size_t(fixed.bytes()));
  EXPECT_EQ(code_of([&] { fixed.run(encode_jpeg(test_image(20, 30, 0), 90), 0, out.data()); }), Exit::ok);
  EXPECT_EQ(code_of([&] { fixed.run(encode_jpeg(test_image(30, 20, 0), 90), 0, out.data()); }), Exit::input);
}

}  // namespace
}  // namespace viaduct::test
