// What the case table cannot say about the optimizer's ops: torch's own values, and sums that do not depend on the cut.
#include "core/ops/update.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/base/json.hpp"
#include "core/ops/elementwise.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/op_case.hpp"
#include "tests/support/source_path.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct::test {
namespace {

using Floats = std::vector<float>;

Tensor view(Floats& v) { return {v.data(), {int64_t(v.size())}, DType::f32, Device::cpu()}; }

// A few fp64 numbers as ops take them.
struct Numbers : std::vector<double> {
  using std::vector<double>::vector;
  Tensor tensor() { return {data(), {int64_t(size())}, DType::f64, Device::cpu()}; }
};

class TorchAdamW : public testing::Test {
 protected:
  // Twenty steps from torch's start; gradients come multiplied by `factor` and are scaled back in the op.
  void train(double factor) {
    auto settings = golden["settings"];
    auto gradients = golden["gradients"].get<std::vector<Floats>>();
    auto rates = golden["learning_rates"].get<std::vector<double>>();
    double beta1 = settings["betas"][0], beta2 = settings["betas"][1];
    value = golden["before"].get<Floats>();
    m.assign(value.size(), 0), v.assign(value.size(), 0);
    for (size_t step = 0; step < rates.size(); ++step) {
      for (float& g : gradients[step]) g = float(g * factor);
      Numbers scalars{rates[step], 1 - std::pow(beta1, double(step + 1)),
                      std::sqrt(1 - std::pow(beta2, double(step + 1))), 0, 1 / factor};
      scalars.resize(ops::step_scalar::count);
      ops::adamw(ctx, {.value = view(value),
                       .master = view(value),
                       .m = view(m),
                       .v = view(v),
                       .grad = view(gradients[step]),
                       .scalars = scalars.tensor(),
                       .beta1 = beta1,
                       .beta2 = beta2,
                       .eps = settings["eps"],
                       .weight_decay = settings["weight_decay"]});
    }
  }
  void expect_near(const Floats& found, const char* key) {
    auto expected = golden[key].get<Floats>();
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i)
      EXPECT_NEAR(found[i], expected[i], 1e-6 * std::abs(expected[i])) << key << "[" << i << "]";
  }

  nlohmann::json golden = read_json_object(source_path("tests/golden/adamw.json"));
  TestCtx ctx{DType::f32};
  Floats value, m, v;
};

TEST_F(TorchAdamW, TwentyStepsAgree) {
  train(1);
  expect_near(value, "after");
  expect_near(m, "m");
  expect_near(v, "v");
}

TEST_F(TorchAdamW, GradientScaleIsAppliedFirst) {
  train(1);
  Floats plain = value;
  train(1024);  // a power of two: no rounding
  EXPECT_EQ(plain, value);
}

TEST(AdamW, RefusesAForeignMasterAndAnotherLength) {
  TestCtx ctx(DType::f32);
  Floats a(4), b(4), c(4), d(4), e(4);
  Numbers scalars(ops::step_scalar::count);
  ops::AdamWArgs args{
      .value = view(a), .master = view(e), .m = view(b), .v = view(c), .grad = view(d), .scalars = scalars.tensor()};
  EXPECT_NE(message_of([&] { ops::adamw(ctx, args); }, Exit::crash).find("master"), std::string::npos);
  e.resize(3);
  args.master = view(a), args.grad = view(e);
  EXPECT_EQ(message_of([&] { ops::adamw(ctx, args); }, Exit::crash),
            "adamw: grad should be fp32 [4] on cpu, found fp32 [3] on cpu");
}

// The factor of the gradients after clipping to 1, of 8 loss terms.
double clipped(double squared_norm, double nonfinite) {
  TestCtx ctx(DType::f32);
  Numbers scalars(ops::step_scalar::count), norm{squared_norm}, sums{1.5, 8, 0, 0, nonfinite};
  scalars[ops::step_scalar::max_norm] = 1;
  ops::clip(ctx, scalars.tensor(), norm.tensor(), sums.tensor());
  return scalars[ops::step_scalar::grad_scale];
}

TEST(Clip, GivesNoFactorWhereTheNormOrALossIsNotFinite) {
  EXPECT_DOUBLE_EQ(clipped(16, 0), 1.0 / 8);
  EXPECT_DOUBLE_EQ(clipped(6400, 0), 1.0 / 8 / (10 + 1e-6));
  EXPECT_TRUE(std::isnan(clipped(16, 1)));
  EXPECT_TRUE(std::isnan(clipped(std::numeric_limits<double>::infinity(), 0)));
  EXPECT_TRUE(std::isnan(clipped(std::nan(""), 0)));
}

double norm(Ctx& ctx, Tensor x) {
  double out = -1;
  ops::squared_norm(ctx, {&out, {1}, DType::f64, Device::cpu()}, x);
  return out;
}

TEST(SquaredNorm, IsExactToDoublePrecision) {
  Floats x(3 * ops::kNormChunk + 77);
  RandomSequence random(1, Draw::init);
  long double sum = 0;
  for (float& e : x) e = float(random.uniform(-1, 1)), sum += (long double)e * e;
  TestCtx ctx(DType::f32);
  EXPECT_NEAR(norm(ctx, view(x)), double(sum), 1e-13 * double(sum));
}

TEST(SquaredNorm, ShardsAlignedToChunksGiveTheSameBits) {
  Floats x(5 * ops::kNormChunk + 1234);
  RandomSequence random(1, Draw::init);
  for (float& e : x) e = float(random.uniform(-1, 1));
  TestCtx ctx(DType::f32);
  double whole = norm(ctx, view(x)), chunks = 0;
  int64_t n = int64_t(x.size());
  for (int64_t at = 0; at < n; at += ops::kNormChunk) {
    // Elsewhere in memory, as on another rank.
    Floats shard(x.begin() + at, x.begin() + std::min(n, at + ops::kNormChunk));
    shard.insert(shard.begin(), 0);
    chunks += norm(ctx, view(shard).slice(1, int64_t(shard.size())));
  }
  EXPECT_EQ(whole, chunks);
}

TEST(SquaredNorm, IsNotFiniteIfAnElementIsNot) {
  TestCtx ctx(DType::f32);
  for (float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()})
    for (size_t at : {size_t(0), size_t(70000), size_t(99999)}) {
      Floats x(100000, 1.0f);
      EXPECT_EQ(norm(ctx, view(x)), 100000);
      x[at] = bad;
      EXPECT_FALSE(std::isfinite(norm(ctx, view(x))));
    }
}

}  // namespace
}  // namespace viaduct::test
