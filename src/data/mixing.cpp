#include "data/mixing.hpp"

#include <algorithm>
#include <cmath>

#include "core/base/philox.hpp"

namespace viaduct {
namespace {

// Sequences beside the crop's own, which is 0.
enum : uint32_t { kMix = 1, kOther = 2, kErase = 3 };

double draw_normal(RandomSequence& random) {  // Box and Muller
  const double radius = std::sqrt(-2 * std::log1p(-random.uniform()));
  return radius * std::cos(2 * M_PI * random.uniform());
}

// Marsaglia and Tsang 2000; a >= 1.
double draw_gamma(RandomSequence& random, double a) {
  const double d = a - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = draw_normal(random), t = 1 + c * x, v = t * t * t;
    if (t > 0 && std::log1p(-random.uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

}  // namespace

double draw_beta(RandomSequence& random, double a) {
  if (a > 1) {
    const double x = draw_gamma(random, a), y = draw_gamma(random, a);
    return x / (x + y);
  }
  for (;;) {
    const double u = random.uniform(), v = random.uniform(), x = std::pow(u, 1 / a), y = std::pow(v, 1 / a);
    if (u + v == 0 || x + y > 1) continue;
    if (x + y > 0) return x / (x + y);
    return 1 / (1 + std::exp((std::log(v) - std::log(u)) / a));  // both powers are below the smallest number
  }
}

Mix draw_mix(const MixOptions& options, int height, int width, uint64_t key) {
  RandomSequence random(key, Draw::crop, kMix);
  const double whether = random.uniform(), which = random.uniform();
  if (whether >= options.probability) return {};
  Mix mix;
  mix.cut = options.cutmix > 0 && (options.mixup == 0 || which < options.cutmix_share);
  const double share = draw_beta(random, mix.cut ? options.cutmix : options.mixup);
  mix.share = float(share);
  if (!mix.cut || mix.share == 1) return mix;
  const double side = std::sqrt(1 - share);
  const int h = int(height * side), w = int(width * side);
  const int y = int(random.below(uint64_t(height))), x = int(random.below(uint64_t(width)));
  const int top = std::max(y - h / 2, 0), left = std::max(x - w / 2, 0);
  mix.box = {top, left, std::min(y + (h + 1) / 2, height) - top, std::min(x + (w + 1) / 2, width) - left};
  mix.share = float(1 - double(mix.box.height) * mix.box.width / (double(height) * width));
  return mix;
}

int64_t draw_other(int64_t count, int attempt, uint64_t key) {
  RandomSequence random(key, Draw::crop, kOther);
  int64_t other = 0;
  for (int i = 0; i <= attempt; ++i) other = int64_t(random.below(uint64_t(count)));
  return other;
}

void mix_pixels(uint8_t* own, const uint8_t* other, int height, int width, const Mix& mix) {
  const int64_t stride = int64_t(width) * 3;
  if (mix.cut) {
    for (int y = mix.box.top; y < mix.box.top + mix.box.height; ++y)
      std::copy_n(other + y * stride + 3 * mix.box.left, 3 * mix.box.width, own + y * stride + 3 * mix.box.left);
    return;
  }
  const float share = mix.share, rest = 1 - share;
  for (int64_t i = 0; i < height * stride; ++i)
    own[i] = uint8_t(std::nearbyint(float(own[i]) * share + float(other[i]) * rest));
}

Crop draw_erased(double probability, int height, int width, uint64_t key) {
  constexpr double kSmallest = 0.02, kLargest = 1.0 / 3, kFlattest = 0.3;
  RandomSequence random(key, Draw::crop, kErase);
  if (random.uniform() >= probability) return {};
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = random.uniform(kSmallest, kLargest) * height * width;
    const double aspect = std::exp(random.uniform(std::log(kFlattest), -std::log(kFlattest)));
    const int h = int(std::nearbyint(std::sqrt(area * aspect))), w = int(std::nearbyint(std::sqrt(area / aspect)));
    if (w >= width || h >= height) continue;
    const int top = int(random.below(uint64_t(height - h + 1)));
    return {top, int(random.below(uint64_t(width - w + 1))), h, w};
  }
  return {};
}

}  // namespace viaduct
