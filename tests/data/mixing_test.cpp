// Mixed and erased images: the distributions of what is drawn, the pixels, and that a sample alone gives the same.
#include "data/mixing.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "data/loader.hpp"
#include "tests/data/image_tools.hpp"
#include "tests/support/messages.hpp"

namespace viaduct::test {
namespace {

constexpr int kDraws = 40000;

// Four standard errors of a share of kDraws draws.
double four_errors(double p) { return 4 * std::sqrt(p * (1 - p) / kDraws); }

TEST(Mixing, SharesAreBetaDistributed) {
  const std::map<double, double (*)(double)> distributions = {
      {1, [](double x) { return x; }},
      {0.5, [](double x) { return 2 / M_PI * std::asin(std::sqrt(x)); }},
      {2, [](double x) { return x * x * (3 - 2 * x); }},
      {3, [](double x) { return x * x * x * (10 - 15 * x + 6 * x * x); }}};
  for (auto [a, distribution] : distributions) {
    std::vector<double> draws;
    for (uint64_t i = 0; i < kDraws; ++i) {
      RandomSequence random(sample_key(1, 0, i), Draw::crop);
      draws.push_back(draw_beta(random, a));
      ASSERT_GE(draws.back(), 0);
      ASSERT_LE(draws.back(), 1);
    }
    for (double x : {0.01, 0.1, 0.3, 0.5, 0.8, 0.95}) {
      const double p = distribution(x);
      EXPECT_NEAR(double(std::count_if(draws.begin(), draws.end(), [&](double d) { return d < x; })) / kDraws, p,
                  four_errors(p))
          << "Beta(" << a << ", " << a << ") at " << x;
    }
  }
  RandomSequence random(7, Draw::crop);
  for (int i = 0; i < 1000; ++i) {
    const double extreme = draw_beta(random, 1e-4);  // powers that vanish
    ASSERT_TRUE(extreme >= 0 && extreme <= 1) << extreme;
  }
}

TEST(Mixing, WhatIsMixedIsDrawnByTheOptions) {
  const MixOptions options{.mixup = 0.8, .cutmix = 1, .probability = 0.75, .cutmix_share = 0.25};
  double mixed = 0, cut = 0;
  for (uint64_t i = 0; i < kDraws; ++i) {
    const Mix mix = draw_mix(options, 20, 30, sample_key(3, 1, i));
    mixed += mix.share < 1 || mix.cut, cut += mix.cut;
    ASSERT_GE(mix.share, 0);
    if (!mix.cut) continue;
    ASSERT_GE(mix.box.top, 0);
    ASSERT_GE(mix.box.left, 0);
    ASSERT_LE(mix.box.top + mix.box.height, 20);
    ASSERT_LE(mix.box.left + mix.box.width, 30);
    ASSERT_EQ(mix.share, float(1 - double(mix.box.height) * mix.box.width / 600)) << "corrected for the clipped box";
  }
  EXPECT_NEAR(mixed / kDraws, 0.75, four_errors(0.75));
  EXPECT_NEAR(cut / kDraws, 0.75 * 0.25, four_errors(0.75 * 0.25));
  for (uint64_t i = 0; i < 1000; ++i) {
    EXPECT_FALSE(draw_mix({.mixup = 1}, 20, 30, i).cut);
    EXPECT_TRUE(draw_mix({.cutmix = 1}, 20, 30, i).cut);
  }
}

TEST(Mixing, PixelsAreRoundedToTheNearestLevel) {
  const int height = 3, width = 5;
  std::vector<uint8_t> own(45), other(45);
  for (size_t i = 0; i < 45; ++i) own[i] = uint8_t(37 * i), other[i] = uint8_t(255 - 11 * i);
  auto mixed = own;
  mix_pixels(mixed.data(), other.data(), height, width, {.share = 0.3f});
  for (size_t i = 0; i < 45; ++i)
    EXPECT_EQ(mixed[i], uint8_t(std::nearbyint(0.3f * float(own[i]) + (1 - 0.3f) * float(other[i]))));
  auto cut = own;
  mix_pixels(cut.data(), other.data(), height, width, {.share = 0, .cut = true, .box = {1, 2, 2, 3}});
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < 3 * width; ++x) {
      const size_t i = size_t(y * 3 * width + x);
      EXPECT_EQ(cut[i], y >= 1 && x >= 6 ? other[i] : own[i]) << y << ", " << x;
    }
}

TEST(Erasing, AreasAndAspectsAreWithinTheirBounds) {
  double erased = 0, area = 0;
  for (uint64_t i = 0; i < kDraws; ++i) {
    const Crop box = draw_erased(0.25, 100, 100, sample_key(5, 2, i));
    if (box.height == 0) continue;
    ++erased;
    const double share = box.height * box.width / 1e4, aspect = double(box.height) / box.width;
    ASSERT_TRUE(share > 0.018 && share < 0.345 && aspect > 0.27 && aspect < 3.7) << share << ", " << aspect;
    ASSERT_TRUE(box.top >= 0 && box.left >= 0 && box.top + box.height <= 100 && box.left + box.width <= 100);
    area += share;
  }
  EXPECT_NEAR(erased / kDraws, 0.25, four_errors(0.25));
  // Uniform in (0.02, 1/3); large flat boxes that do not fit are drawn again, which none of these is.
  EXPECT_NEAR(area / erased, (0.02 + 1.0 / 3) / 2, 4 * (1.0 / 3 - 0.02) / std::sqrt(12 * erased));
  EXPECT_EQ(draw_erased(0, 100, 100, 1), Crop{});
}

TEST(Erasing, FillsWithTheMeanColour) {
  ImageProcessor processor{.height = 32, .width = 32, .mean{0.25f, 0.5f, 0.75f}};
  const auto file = encode_jpeg(test_image(40, 40, 3), 95);
  const ImagePipeline whole(processor, Augment::standard), erasing(processor, Augment::standard, 1);
  std::vector<uint8_t> before(size_t(whole.bytes())), after(before.size());
  for (uint64_t key = 1; key < 20; ++key) {
    whole.run(file, key, before.data()), erasing.run(file, key, after.data());
    const Crop box = draw_erased(1, 32, 32, key);
    for (int y = 0; y < 32; ++y)
      for (int x = 0; x < 32; ++x) {
        const bool inside = y >= box.top && y < box.top + box.height && x >= box.left && x < box.left + box.width;
        const uint8_t mean[] = {64, 128, 191};  // 63.75, 127.5 to even, 191.25
        for (size_t c = 0; c < 3; ++c) {
          const size_t i = size_t(y * 32 + x) * 3 + c;
          ASSERT_EQ(after[i], inside ? mean[c] : before[i]) << y << ", " << x;
        }
      }
  }
}

class MixedLoader : public testing::Test {
 protected:
  void SetUp() override {
    write_class_folders(folder_.path(), 23);
    dataset_ = open_labelled(folder_.path().string(), Split::train);
  }
  LoaderOptions options(int workers = 0) {
    return {.batch_size = 8,
            .seed = 5,
            .processor = {.height = 16, .width = 18},
            .augment = Augment::standard,
            .random_erasing = 0.5,
            .mix = {.mixup = 0.8, .cutmix = 1},
            .workers = workers};
  }
  struct Sample {
    std::vector<uint8_t> pixels;
    int32_t label, other;
    float share;
    bool operator==(const Sample&) const = default;
  };
  // By (step, dataset index).
  using Samples = std::map<std::pair<int64_t, int64_t>, Sample>;
  void read(LoaderOptions options, int64_t steps, Samples& into, int64_t start = 0) {
    Loader loader(dataset_, options, start);
    for (int64_t i = 0; i < steps * options.accumulate; ++i) {
      const Batch b = loader.next();
      const int64_t bytes = 16 * 18 * 3;
      for (int64_t n = 0; n < b.size(); ++n) {
        const uint8_t* from = data<uint8_t>(b.pixels) + n * bytes;
        into[{start + i / options.accumulate, b.samples[size_t(n)]}] = {{from, from + bytes},
                                                                        data<int32_t>(b.labels)[n],
                                                                        data<int32_t>(b.other_labels)[n],
                                                                        data<float>(b.shares)[n]};
      }
    }
  }
  TempFolder folder_;
  DatasetPtr dataset_;
  Log log_;
};

TEST_F(MixedLoader, RanksPassesAndWorkersChangeNothing) {
  Samples one;
  read(options(), 6, one);  // two epochs
  EXPECT_EQ(one.size(), 46u);
  const auto mixed = std::count_if(one.begin(), one.end(), [](const auto& s) { return s.second.share < 1; });
  EXPECT_GT(mixed, 40);
  for (int64_t ranks : {2, 4}) {
    Samples all;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      LoaderOptions part = options(int(rank));
      part.rank = rank, part.ranks = ranks, part.batch_size = 4 / ranks, part.accumulate = 2;
      read(part, 6, all);
    }
    EXPECT_TRUE(one == all) << ranks << " ranks";
  }
  Samples resumed;
  read(options(3), 2, resumed, 4);
  for (const auto& [place, sample] : resumed) EXPECT_TRUE(sample == one.at(place));
}

// What is mixed in is the other image as its own epoch shows it, erased too.
TEST_F(MixedLoader, ASampleCanBeMadeAlone) {
  Samples all;
  LoaderOptions o = options();
  read(o, 3, all);
  const ImagePipeline pipeline(o.processor, o.augment, o.random_erasing);
  auto image = [&](int64_t sample) {
    std::vector<uint8_t> pixels(size_t(pipeline.bytes()));
    pipeline.run(dataset_->read(sample), sample_key(5, 0, uint64_t(sample)), pixels.data());
    return pixels;
  };
  for (const auto& [place, sample] : all) {
    const uint64_t key = sample_key(5, 0, uint64_t(place.second));
    const Mix mix = draw_mix(o.mix, 16, 18, key);
    const int64_t other = mix.share < 1 ? draw_other(23, 0, key) : place.second;
    auto expected = image(place.second);
    if (mix.share < 1) mix_pixels(expected.data(), image(other).data(), 16, 18, mix);
    EXPECT_TRUE(sample == (Sample{expected, dataset_->label(place.second), dataset_->label(other), mix.share}));
  }
}

// Of two that cannot be read neither is mixed in, and only their own places are replaced.
TEST_F(MixedLoader, UnreadableImagesAreNotMixedIn) {
  for (int64_t broken : {3, 11}) write_bytes(folder_.path() / dataset_->id(broken), "not an image");
  Loader loader(dataset_, options());
  int64_t replaced = 0;
  for (int step = 0; step < 3; ++step) {
    const Batch b = loader.next();
    EXPECT_EQ(b.size(), step < 2 ? 8 : 7);
    replaced += b.replaced;
  }
  EXPECT_EQ(replaced, 2);
  EXPECT_EQ(loader.quarantined().size(), 2u);
}

TEST_F(MixedLoader, AnEvaluationSeesWholeImages) {
  LoaderOptions plain = options(), mixed = options();
  plain.mix = {}, plain.random_erasing = 0;
  plain.pass = mixed.pass = Pass::evaluation, plain.augment = mixed.augment = Augment::none;
  Loader a(dataset_, plain), b(dataset_, mixed);
  while (!a.done()) {
    const Batch x = a.next(), y = b.next();
    EXPECT_FALSE(y.shares);
    EXPECT_TRUE(
        std::equal(data<uint8_t>(x.pixels), data<uint8_t>(x.pixels) + x.pixels.numel(), data<uint8_t>(y.pixels)));
  }
}

}  // namespace
}  // namespace viaduct::test
