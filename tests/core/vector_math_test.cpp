// The accuracy that vector_math.hpp promises, against the library in double.
#include "core/ops/cpu/vector_math.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

namespace viaduct::ops::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// The distance from |x| to the next float.
double ulp(double x) {
  float magnitude = std::fabs(float(x));
  return double(std::nextafter(magnitude, kInfinity)) - double(magnitude);
}

// The largest error of f on [low, high], in units given by unit(truth).
template <class F, class Truth, class Unit>
double worst(double low, double high, F f, Truth truth, Unit unit) {
  double most = 0;
  for (double d = low; d < high; d += (high - low) / 400000) {
    float x = float(d);
    double t = truth(double(x));
    most = std::max(most, std::fabs(double(f(x)) - t) / unit(t));
  }
  return most;
}
auto one = [](double) { return 1.0; };

TEST(VectorMath, ExpIsWithinAnUlpAndAFifth) {
  auto ours = [](float x) { return exp(x); };
  auto truth = [](double x) { return std::exp(x); };
  EXPECT_LT(worst(-87, 88, ours, truth, ulp), 1.2);
  EXPECT_EQ(exp(0.0f), 1.0f);
  EXPECT_EQ(exp(-kInfinity), 0.0f);
  EXPECT_EQ(exp(-1000.0f), 0.0f);
  EXPECT_EQ(exp(1000.0f), kInfinity);
  EXPECT_TRUE(std::isnan(exp(kNaN)));
}

TEST(VectorMath, ExpOfAVectorIsTheSameUpTo88) {
  auto ours = [](float x) { return exp(Vec<float>{} + x)[3]; };
  auto truth = [](double x) { return std::exp(x); };
  EXPECT_LT(worst(-87, 88, ours, truth, ulp), 1.2);
  EXPECT_EQ(ours(0.0f), 1.0f);
  EXPECT_EQ(ours(-kInfinity), 0.0f);
  EXPECT_EQ(ours(-1000.0f), 0.0f);
  EXPECT_TRUE(std::isnan(ours(kNaN)));
  EXPECT_EQ(exp(Vec<double>{} - 3.0)[1], std::exp(-3.0));
}

TEST(VectorMath, TanhIsWithinThreeUlpsToZero) {
  auto ours = [](float x) { return tanh(x); };
  auto truth = [](double x) { return std::tanh(x); };
  EXPECT_LT(worst(-12, 12, ours, truth, ulp), 3.0);
  EXPECT_LT(worst(-1e-3, 1e-3, ours, truth, ulp), 3.0);
  EXPECT_EQ(tanh(-kInfinity), -1.0f);
  EXPECT_TRUE(std::isnan(tanh(kNaN)));
}

// The fit is good to 2e-8; the rest is rounding.
TEST(VectorMath, TheNormalDistributionIsRightToItsTails) {
  auto cdf = [](float x) { return normal(x).cdf; };
  auto density = [](float x) { return normal(x).density; };
  auto true_cdf = [](double x) { return 0.5 * std::erfc(-x * M_SQRT1_2); };
  auto true_density = [](double x) { return std::exp(-0.5 * x * x) / std::sqrt(2 * M_PI); };
  EXPECT_LT(worst(-9, 9, cdf, true_cdf, one), 2e-7);
  EXPECT_LT(worst(-9, 9, density, true_density, one), 1.2e-7);
  EXPECT_EQ(normal(kInfinity).cdf, 1.0f);
  EXPECT_EQ(normal(-kInfinity).cdf, 0.0f);
  EXPECT_TRUE(std::isnan(normal(kNaN).cdf));
}

TEST(VectorMath, SigmoidSaturatesWithoutNaN) {
  auto ours = [](float x) { return sigmoid(x); };
  auto truth = [](double x) { return 1 / (1 + std::exp(-x)); };
  EXPECT_LT(worst(-80, 80, ours, truth, one), 1.2e-7);
  EXPECT_EQ(sigmoid(-200.0f), 0.0f);
  EXPECT_EQ(sigmoid(200.0f), 1.0f);
}

}  // namespace
}  // namespace viaduct::ops::cpu
