// What the case table cannot say about the elementwise, patch and loss ops.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/base/json.hpp"
#include "core/ops/cpu/dropout_mask.hpp"
#include "core/ops/elementwise.hpp"
#include "core/ops/layer_norm.hpp"
#include "core/ops/loss.hpp"
#include "core/ops/patch.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/source_path.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct::test {
namespace {

template <class T>
Tensor view(std::vector<T>& v, Shape s) {
  return {v.data(), s, dtype_of<T>, Device::cpu()};
}

TEST(Patchify, PixelsAreThoseOfTransformersToTheBit) {
  auto golden = read_json_object(source_path("tests/golden/pixel_values.json"));
  ops::Normalization normalization{golden["rescale"], golden["image_mean"], golden["image_std"]};
  std::vector<uint8_t> pixels;
  for (int value = 0; value < 256; ++value) pixels.insert(pixels.end(), 3, uint8_t(value));
  std::vector<float> patches(3 * 256);
  TestCtx ctx(DType::f32);
  ops::patchify(ctx, view(patches, {1, 1, 3 * 256}), view(pixels, {1, 16, 16, 3}), 16, normalization);
  auto expected = golden["values"].get<std::vector<std::vector<float>>>();
  for (size_t i = 0; i < patches.size(); ++i) ASSERT_EQ(patches[i], expected[i / 256][i % 256]) << i;
}

TEST(Dropout, DropsItsShareAndKeepsTheMean) {
  constexpr int64_t kSize = 100000;
  std::vector<float> x(kSize, 1), y(kSize);
  std::vector<int64_t> keys{77};
  TestCtx ctx(DType::f32);
  ctx.ctx.training = true, ctx.ctx.sample_keys = view(keys, {1});
  for (float p : {0.1f, 0.5f}) {
    ops::dropout(ctx, view(y, {1, kSize}), view(x, {1, kSize}), {p, 3});
    double kept = double(kSize - std::count(y.begin(), y.end(), 0.0f));
    EXPECT_NEAR(kept / kSize, 1 - p, 4 * std::sqrt(p * (1 - p) / kSize));  // four standard deviations
    EXPECT_EQ(*std::max_element(y.begin(), y.end()), 1 / (1 - p));
  }
}

TEST(Dropout, MaskIsAFunctionOfSampleAndPlaceInTheModel) {
  constexpr int64_t kSize = 1000;
  std::vector<float> x(2 * kSize, 1), y(2 * kSize);
  TestCtx ctx(DType::f32);
  ctx.ctx.training = true;
  auto masks = [&](std::vector<int64_t> keys, uint32_t op) {
    ctx.ctx.sample_keys = view(keys, {2});
    ops::dropout(ctx, view(y, {2, kSize}), view(x, {2, kSize}), {0.5f, op});
    return std::pair{std::vector(y.begin(), y.begin() + kSize), std::vector(y.begin() + kSize, y.end())};
  };
  auto [a, b] = masks({1, 2}, 0);
  EXPECT_NE(a, b);
  EXPECT_EQ(masks({2, 1}, 0), std::pair(b, a));  // wherever the sample stands in the batch
  EXPECT_NE(masks({1, 2}, 1).first, a);
}

TEST(Dropout, MaskIsTheSameFromWhereverItIsRead) {
  constexpr int64_t kSize = 300;
  std::vector<float> whole(kSize);
  ops::cpu::dropout_mask(whole.data(), 5, 9, 0, kSize, 0.5f);
  for (int64_t first : {1, 2, 3, 63, 64, 197})
    for (int64_t count : {1, 2, 66, 103}) {
      std::vector<float> part(size_t(count) + 1, -1);
      ops::cpu::dropout_mask(part.data(), 5, 9, first, count, 0.5f);
      for (int64_t i = 0; i < count; ++i) ASSERT_EQ(part[size_t(i)], whole[size_t(first + i)]) << first << " + " << i;
      EXPECT_EQ(part.back(), -1);
    }
}

TEST(Dropout, IsACopyOutsideTrainingAndWithoutProbability) {
  std::vector<float> x{1, 2, 3}, y(3);
  TestCtx ctx(DType::f32);
  ops::dropout(ctx, view(y, {1, 3}), view(x, {1, 3}), {0.5f, 0});
  EXPECT_EQ(x, y);
  ctx.ctx.training = true, y = {0, 0, 0};
  ops::dropout(ctx, view(y, {1, 3}), view(x, {1, 3}), {0, 0});
  EXPECT_EQ(x, y);
  EXPECT_NE(message_of(
                [&] {
                  ops::dropout(ctx, view(y, {1, 3}), view(x, {1, 3}), {1, 0});
                },
                Exit::crash)
                .find("[0, 1)"),
            std::string::npos);
  EXPECT_NE(message_of(
                [&] {
                  ops::dropout(ctx, view(y, {1, 3}), view(x, {1, 3}), {0.5f, 0});
                },
                Exit::crash)
                .find("sample_keys"),
            std::string::npos);
}

TEST(CrossEntropy, RefusesALabelThatIsNoClass) {
  std::vector<float> logits(6), losses(2);
  TestCtx ctx(DType::f32);
  for (int32_t bad : {3, -1, -101}) {
    std::vector<int32_t> labels{0, bad};
    auto text = message_of(
        [&] {
          ops::cross_entropy(ctx, view(losses, {2}), {}, view(logits, {2, 3}), view(labels, {2}));
        },
        Exit::crash);
    EXPECT_EQ(text, fmt::format("cross_entropy: label {} of row 1 should be in [0, 3) or -100", bad));
  }
}

TEST(CrossEntropy, LargeLogitsNeitherOverflowNorHideANaN) {
  std::vector<float> logits{1e30f, -1e30f, 0, 3e38f, 3e38f, -3e38f}, losses(2), gradient(6);
  std::vector<int32_t> labels{1, 0};
  TestCtx ctx(DType::f32);
  auto run = [&] {
    ops::cross_entropy(ctx, view(losses, {2}), view(gradient, {2, 3}), view(logits, {2, 3}), view(labels, {2}));
  };
  run();
  EXPECT_EQ(losses[0], 2e30f);
  EXPECT_FLOAT_EQ(losses[1], std::log(2.0f));
  EXPECT_EQ(gradient, (std::vector<float>{1, -1, 0, -0.5f, 0.5f, 0}));
  logits[2] = NAN;
  run();
  EXPECT_TRUE(std::isnan(losses[0]));
  EXPECT_FALSE(std::isnan(losses[1]));
}

// Rows are normalised several at a time, and the last ones alone.
TEST(LayerNorm, ARowIsAFunctionOfItselfAlone) {
  constexpr int64_t kRows = 60;
  TestCtx ctx(DType::f32);
  for (int64_t columns : {16, 37, 768}) {
    std::vector<float> x(size_t(kRows * columns), 0.0f), whole = x, gamma(size_t(columns), 1.0f), beta = gamma;
    for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(float(i * i % 1009));
    for (size_t i = 0; i < gamma.size(); ++i) gamma[i] += std::cos(float(i)), beta[i] = std::sin(float(i));
    auto norm = [&](std::vector<float>& y, std::vector<float>& from, int64_t rows) {
      ops::layer_norm(ctx, view(y, {rows, columns}), {}, view(from, {rows, columns}), view(gamma, {columns}),
                      view(beta, {columns}), 1e-5);
    };
    norm(whole, x, kRows);
    for (int64_t rows = 1; rows < kRows; ++rows) {
      std::vector<float> last(x.end() - rows * columns, x.end()), y(last.size());
      norm(y, last, rows);
      ASSERT_TRUE(std::equal(y.begin(), y.end(), whole.end() - rows * columns)) << rows << " rows of " << columns;
    }
  }
}

TEST(LayerNorm, ANaNStaysOneWhateverItsPayload) {
  std::vector<bf16> x(20), gamma(20, bf16(1.0f)), beta(20), y(20);
  x[3].bits = 0x7fff;
  TestCtx ctx(DType::bf16);
  ops::layer_norm(ctx, view(y, {1, 20}), {}, view(x, {1, 20}), view(gamma, {20}), view(beta, {20}), 1e-5);
  for (bf16 v : y) EXPECT_TRUE(std::isnan(float(v)));
}

TEST(Operands, AWrongOneIsNamedWithWhatWasExpected) {
  std::vector<float> x(12), y(12), gamma(3), beta(4);
  TestCtx ctx(DType::f32);
  auto norm = [&] {
    ops::layer_norm(ctx, view(y, {3, 4}), {}, view(x, {3, 4}), view(gamma, {3}), view(beta, {4}), 1e-5);
  };
  EXPECT_EQ(message_of(norm, Exit::crash), "layer_norm: gamma should be fp32 [4] on cpu, found fp32 [3] on cpu");
  std::vector<bf16> half(12);
  EXPECT_EQ(message_of([&] { ops::add(ctx, view(y, {12}), view(x, {12}), view(half, {12})); }, Exit::crash),
            "add: b should be fp32 [12] on cpu, found bf16 [12] on cpu");
  Tensor elsewhere = view(x, {3, 4});
  elsewhere.device = Device::meta();
  EXPECT_THROW(ops::add(ctx, view(y, {12}), view(x, {12}), elsewhere), Error);
  EXPECT_THROW(ops::select_token(ctx, view(y, {3, 1}), view(x, {3, 2, 2}), 2), Error);
  EXPECT_THROW(ops::softmax(ctx, view(y, {12}), view(x, {12})), Error);
}

}  // namespace
}  // namespace viaduct::test
