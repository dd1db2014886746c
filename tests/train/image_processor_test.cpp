// preprocessor_config.json: the golden one, older spellings, what is refused, and that what is written is read back.
#include "train/image_processor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/messages.hpp"
#include "tests/support/temp_folder.hpp"

namespace viaduct {
namespace {

using test::message_of;
using test::TempFolder;
using test::write_bytes;
using testing::AllOf;
using testing::HasSubstr;

const ImageProcessor kVit = ImageProcessor::vit(224), kBridgeTower = ImageProcessor::bridgetower(288);

ImageProcessor read(const std::string& json, const ImageProcessor& defaults = kVit) {
  TempFolder folder;
  write_bytes(folder / "preprocessor_config.json", json);
  return read_image_processor(folder.path(), defaults);
}

TEST(ImageProcessorConfig, ReadsWhatTransformersWrites) {
  ImageProcessor p = read_image_processor("tests/golden/vit_tiny", ImageProcessor::vit(999));
  EXPECT_EQ(p.height, 32);
  EXPECT_EQ(p.width, 32);
  EXPECT_EQ(p.resample, Resample::bilinear);
  EXPECT_EQ(p.rescale_factor, 1 / 255.0);
  EXPECT_EQ(p.mean, (std::array<float, 3>{0.5f, 0.5f, 0.5f}));
  EXPECT_TRUE(p.do_resize && p.do_rescale && p.do_normalize);
}

TEST(ImageProcessorConfig, ReadsOlderFiles) {
  ImageProcessor p =
      read(R"({"feature_extractor_type":"ViTFeatureExtractor","size":384,"resample":3,"do_normalize":false,
                              "image_mean":[0.485,0.456,0.406],"image_std":[0.229,0.224,0.225]})");
  EXPECT_EQ(p.height, 384);
  EXPECT_EQ(p.width, 384);
  EXPECT_EQ(p.resample, Resample::bicubic);
  EXPECT_FALSE(p.do_normalize);
  EXPECT_EQ(p.mean, (std::array<float, 3>{0.485f, 0.456f, 0.406f}));
  EXPECT_EQ(p.std, (std::array<float, 3>{0.229f, 0.224f, 0.225f}));
}

TEST(ImageProcessorConfig, SaysWhenThereIsNone) {
  TempFolder folder;
  test::Log log;
  EXPECT_EQ(read_image_processor(folder.path(), ImageProcessor::vit(96)).height, 96);
  EXPECT_THAT(log.text, HasSubstr("preprocessor_config.json is absent: images are resized to 96 x 96"));
  EXPECT_EQ(read_image_processor(folder.path(), kBridgeTower).kind, ImageProcessor::Kind::bridgetower);
  EXPECT_THAT(log.text, HasSubstr("the shorter edge of an image becomes 288, then its centre of 288 x 288 is taken"));
}

TEST(ImageProcessorConfig, WritesWhatItReads) {
  ImageProcessor p;
  p.height = 100, p.width = 120, p.resample = Resample::lanczos, p.do_resize = false;
  p.mean = {0.485f, 0.456f, 0.406f}, p.rescale_factor = 1 / 127.5;
  std::string json = image_processor_json(p);
  EXPECT_THAT(json, AllOf(HasSubstr("0.485,"), HasSubstr("\"image_processor_type\": \"ViTImageProcessor\"")));
  ImageProcessor again = read(json);
  EXPECT_EQ(image_processor_json(again), json);
  EXPECT_EQ(again.mean, p.mean);
  EXPECT_EQ(again.rescale_factor, p.rescale_factor);
  EXPECT_EQ(again.width, 120);
  EXPECT_FALSE(again.do_resize);
}

// The file of BridgeTower's large models on the Hub, whose model has images of 294.
TEST(ImageProcessorConfig, ReadsBridgeTowersFile) {
  ImageProcessor p = read(
      R"({"crop_size":null,"do_center_crop":true,"do_normalize":true,"do_pad":true,"do_rescale":true,"do_resize":true,
          "image_mean":[0.48145466,0.4578275,0.40821073],"image_std":[0.26862954,0.26130258,0.27577711],
          "image_processor_type":"BridgeTowerImageProcessor","max_text_len":50,"resample":3,
          "rescale_factor":0.00392156862745098,"size":294,"size_divisor":32})",
      kBridgeTower);
  EXPECT_EQ(p.kind, ImageProcessor::Kind::bridgetower);
  EXPECT_EQ(p.shortest_edge, 294);
  EXPECT_EQ(p.size_divisor, 32);
  EXPECT_EQ(p.height, 294);
  EXPECT_EQ(p.width, 294);
  EXPECT_EQ(p.resample, Resample::bicubic);
  EXPECT_EQ(p.mean, (std::array<float, 3>{0.48145466f, 0.4578275f, 0.40821073f}));
  EXPECT_EQ(p.std, (std::array<float, 3>{0.26862954f, 0.26130258f, 0.27577711f}));
}

TEST(ImageProcessorConfig, ReadsWhichClassAFileIsOf) {
  ImageProcessor p = read(R"({"image_processor_type":"BridgeTowerImageProcessorFast","do_pad":false,"size_divisor":16,
                              "size":{"shortest_edge":320},"crop_size":{"shortest_edge":256}})");
  EXPECT_EQ(p.kind, ImageProcessor::Kind::bridgetower);
  EXPECT_EQ(p.shortest_edge, 320);
  EXPECT_EQ(p.height, 256);
  EXPECT_EQ(p.size_divisor, 16);
  EXPECT_EQ(p.mean, kBridgeTower.mean);  // that class's default, not ViT's
  EXPECT_EQ(p.resample, Resample::bicubic);
  // Without a class it is that of the model.
  EXPECT_EQ(read(R"({"size":{"shortest_edge":288}})", kBridgeTower).kind, ImageProcessor::Kind::bridgetower);
  EXPECT_EQ(read("{}", kBridgeTower).height, 288);
  EXPECT_EQ(read(R"({"image_processor_type":"ViTImageProcessor"})", kBridgeTower).kind, ImageProcessor::Kind::vit);
}

TEST(ImageProcessorConfig, AnotherImageSizeIsEdgeAndCrop) {
  ImageProcessor p = read(R"({"size":{"shortest_edge":320},"crop_size":{"shortest_edge":288}})", kBridgeTower);
  p.set_image_size(288);  // what the file says already
  EXPECT_EQ(p.shortest_edge, 320);
  p.set_image_size(294);
  EXPECT_EQ(p.shortest_edge, 294);
  EXPECT_EQ(p.height, 294);
  EXPECT_EQ(p.width, 294);
}

TEST(ImageProcessorConfig, WritesBridgeTowersFile) {
  ImageProcessor p = kBridgeTower;
  p.shortest_edge = 320, p.size_divisor = 16, p.rescale_factor = 1 / 127.5;
  std::string json = image_processor_json(p);
  EXPECT_THAT(json, AllOf(HasSubstr("\"processor_class\": \"BridgeTowerProcessor\""), HasSubstr("0.48145467,")));
  ImageProcessor again = read(json);
  EXPECT_EQ(image_processor_json(again), json);
  EXPECT_EQ(again.shortest_edge, 320);
  EXPECT_EQ(again.height, 288);
  EXPECT_EQ(again.size_divisor, 16);
  EXPECT_EQ(again.std, p.std);
}

TEST(ImageProcessorConfig, RefusesWhatItCannotHonour) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"image_processor_type":"CLIPImageProcessor"})", "CLIPImageProcessor is not supported"},
      {R"({"size":{"shortest_edge":224}})", "expected height and width"},
      {R"({"size":{"height":224,"width":0}})", "from 1 to 8192, found 0"},
      {R"({"size":{"height":1e3,"width":9}})", "from 1 to 8192, found 1000.0"},
      {R"({"size":99999})", "found 99999"},
      {R"({"size":null})", "found null"},
      {R"({"do_center_crop":true})", "do_center_crop is not supported"},
      {R"({"resample":6})", "0 to 5, found 6"},
      {R"({"resample":"bicubic"})", "resample: expected a whole number"},
      {R"({"image_mean":[0.5,0.5]})", "image_mean: expected three numbers"},
      {R"({"image_mean":[0.5,0.5,"x"]})", "image_mean: expected three numbers"},
      {R"({"image_std":[0.5,0,0.5]})", "image_std: expected numbers above 0"},
      {R"({"do_rescale":1})", "do_rescale: expected true or false, found 1"},
  };
  for (const auto& [json, message] : cases)
    EXPECT_THAT(message_of([json = json] { read(json); }),
                AllOf(HasSubstr("preprocessor_config.json: "), HasSubstr(message)))
        << json;
}

TEST(ImageProcessorConfig, RefusesWhatBridgeTowerCannotHave) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"do_center_crop":false})", "do_center_crop = false would give images of different sizes"},
      {R"({"size":{"height":288,"width":288}})", R"(size: expected {"shortest_edge": 288}, found {"height":288)"},
      {R"({"size":0})", "size: expected shortest_edge from 1 to 8192, found 0"},
      {R"({"size":{"shortest_edge":-5}})", "from 1 to 8192, found -5"},
      {R"({"crop_size":288})", R"(crop_size: expected {"shortest_edge": 288}, found 288)"},
      {R"({"crop_size":{"height":288,"width":288}})", R"(crop_size: expected {"shortest_edge": 288})"},
      {R"({"size_divisor":0})", "size_divisor: expected a number from 1 to 8192, found 0"},
      {R"({"size_divisor":null})", "size_divisor: expected a number from 1 to 8192, found null"},
      {R"({"do_center_crop":1})", "do_center_crop: expected true or false, found 1"},
  };
  for (const auto& [json, message] : cases)
    EXPECT_THAT(message_of([json = json] { read(json, kBridgeTower); }),
                AllOf(HasSubstr("preprocessor_config.json: "), HasSubstr(message)))
        << json;
}

}  // namespace
}  // namespace viaduct
