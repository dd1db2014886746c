// Pillow's library is compiled without fused multiply-add, which would round some weights and window edges differently.
#pragma GCC optimize("fp-contract=off")
#include "data/resize_weights.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/base/check.hpp"

namespace viaduct {
namespace {

double sinc(double x) { return x == 0 ? 1 : std::sin(x * std::numbers::pi) / (x * std::numbers::pi); }

struct Filter {
  double support;
  double (*weight)(double);
};
Filter filter_of(Resample resample) {
  switch (resample) {
    case Resample::box:
      return {0.5, [](double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }};
    case Resample::bilinear:
      return {1, [](double x) { return std::max(0.0, 1 - std::abs(x)); }};
    case Resample::hamming:
      return {1, [](double x) {
                x = std::abs(x);
                return x >= 1 ? 0 : sinc(x) * (0.54f + 0.46f * std::cos(x * std::numbers::pi));
              }};
    case Resample::bicubic:
      return {2, [](double x) {
                constexpr double a = -0.5;
                x = std::abs(x);
                if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
                return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
              }};
    case Resample::lanczos:
      return {3, [](double x) { return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0.0; }};
    case Resample::nearest:
      break;
  }
  fail_config("resample = 0 (nearest) is not an antialiased filter; use 2 (bilinear) or 3 (bicubic)");
}

}  // namespace

Range ResizeWeights::rebase() {
  const int begin = first.front();  // windows move to the right with their output
  int end = 0;
  for (size_t i = 0; i < first.size(); ++i) end = std::max(end, first[i] + count[i]), first[i] -= begin;
  return {begin, end};
}

ResizeWeights resize_weights(int in, int out, Resample resample, Range wanted) {
  const Filter filter = filter_of(resample);
  const double scale = double(in) / out, stretch = std::max(scale, 1.0), support = filter.support * stretch;
  ResizeWeights w;
  w.taps = (int(std::ceil(support)) * 2 + 1 + 3) / 4 * 4;
  const size_t n = size_t(wanted.size());
  w.first.resize(n), w.count.resize(n);
  w.value.resize(n * w.taps);
  std::vector<double> k(size_t(w.taps));
  for (size_t i = 0; i < n; ++i) {
    const double centre = (double(wanted.begin + int64_t(i)) + 0.5) * scale;
    const int begin = std::max(0, int(centre - support + 0.5)), end = std::min(in, int(centre + support + 0.5));
    double sum = 0;
    for (int j = begin; j < end; ++j) sum += k[size_t(j - begin)] = filter.weight((j - centre + 0.5) * (1.0 / stretch));
    for (int j = 0; j < end - begin; ++j) {
      double x = (sum != 0 ? k[size_t(j)] / sum : k[size_t(j)]) * (1 << w.kPrecision);
      w.value[i * w.taps + j] = int32_t(x < 0 ? x - 0.5 : x + 0.5);
    }
    w.first[i] = begin, w.count[i] = end - begin;
  }
  w.high.resize(w.value.size()), w.low.resize(w.value.size());
  for (size_t i = 0; i < w.value.size(); ++i) {
    w.high[i] = int16_t(w.value[i] >> w.kSplit);
    w.low[i] = int16_t(w.value[i] & ((1 << w.kSplit) - 1));
  }
  return w;
}

}  // namespace viaduct
