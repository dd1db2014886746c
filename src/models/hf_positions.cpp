#include <algorithm>
#include <cmath>

#include "core/base/check.hpp"
#include "models/hf_weights.hpp"

namespace viaduct {
namespace {

double cubic(double x) {  // Keys' kernel
  constexpr double a = -0.75;
  x = std::abs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

}  // namespace

std::vector<float> interpolate_positions(const std::vector<float>& rows, int64_t from, int64_t to, int64_t width,
                                         int64_t special) {
  expect(int64_t(rows.size()) == (special + from * from) * width, "positions are one row per patch, and those before");
  std::vector<float> out(size_t((special + to * to) * width));
  std::copy_n(rows.begin(), special * width, out.begin());
  struct Taps {
    int64_t index[4];
    double weight[4];
  };
  std::vector<Taps> taps(static_cast<size_t>(to));
  for (int64_t i = 0; i < to; ++i) {
    double source = (double(i) + 0.5) * double(from) / double(to) - 0.5, floor = std::floor(source);
    for (int k = 0; k < 4; ++k) {
      taps[size_t(i)].index[k] = std::clamp<int64_t>(int64_t(floor) + k - 1, 0, from - 1);
      taps[size_t(i)].weight[k] = cubic(source - (floor + k - 1));
    }
  }
  for (int64_t y = 0; y < to; ++y)
    for (int64_t x = 0; x < to; ++x)
      for (int64_t c = 0; c < width; ++c) {
        const Taps &ty = taps[size_t(y)], &tx = taps[size_t(x)];
        double sum = 0;
        for (int j = 0; j < 4; ++j)
          for (int i = 0; i < 4; ++i)
            sum += ty.weight[j] * tx.weight[i] * rows[size_t((special + ty.index[j] * from + tx.index[i]) * width + c)];
        out[size_t((special + y * to + x) * width + c)] = float(sum);
      }
  return out;
}

}  // namespace viaduct
