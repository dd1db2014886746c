// Fused multiply-adds are spelt out here and none are added: the results are torch's to the bit.
#pragma GCC optimize("fp-contract=off")
#include "data/resize_float.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/base/check.hpp"
#include "core/base/range.hpp"

namespace viaduct {
namespace {

struct Filter {
  float support;
  float (*weight)(float);
};

float triangle(float x) { return std::max(0.0f, 1 - std::abs(x)); }

float cubic(float x) {  // a = -0.5
  x = std::abs(x);
  if (x < 1) return std::fma(std::fma(1.5f, x, -2.5f) * x, x, 1.0f);
  return x < 2 ? std::fma(std::fma(std::fma(-0.5f, x, 2.5f), x, -4.0f), x, 2.0f) : 0;
}

Filter filter_of(Resample resample) {
  if (resample == Resample::bilinear) return {1, triangle};
  if (resample == Resample::bicubic) return {2, cubic};
  fail_config(fmt::format("resample = {}: torchvision antialiases only 2 (bilinear) and 3 (bicubic)", int(resample)));
}

// Which inputs an output along one axis is made of, and with which weights.
struct Weights {
  int taps = 0;  // the most of any output
  std::vector<int> first, count;
  std::vector<float> value;  // [output][taps]
};

Weights weights_of(int in, int out, Resample resample, Range wanted) {
  const Filter filter = filter_of(resample);
  const float scale = float(in) / float(out), support = filter.support * std::max(scale, 1.0f);
  const float inverse = scale >= 1 ? float(1.0 / scale) : 1.0f;
  Weights w;
  w.taps = int(std::ceil(support)) * 2 + 1;
  const size_t n = size_t(wanted.size());
  w.first.resize(n), w.count.resize(n), w.value.resize(n * w.taps);
  for (size_t i = 0; i < n; ++i) {
    const float centre = float(scale * (double(wanted.begin + int64_t(i)) + 0.5));
    const int begin = std::max(0, int((centre - support) + 0.5)), end = std::min(in, int((centre + support) + 0.5));
    const int count = std::clamp(end - begin, 1, w.taps);
    float* value = w.value.data() + i * w.taps;
    float sum = 0;
    for (int j = 0; j < count; ++j) sum += value[j] = filter.weight(float((float(begin + j) - centre + 0.5) * inverse));
    for (int j = 0; j < count; ++j) value[j] /= sum;
    w.first[i] = begin, w.count[i] = count;
  }
  return w;
}

constexpr int kRows = 4, kLanes = 4 * kRows;  // the horizontal pass: four rows of RGB and a fourth value of no meaning

// Columns [begin, begin + n) of four rows as floats: out[column][row][4].
void to_floats(const uint8_t* const row[kRows], Range columns, float* out) {
  uint8_t lanes[kLanes] = {};
  for (int64_t x = columns.begin; x < columns.end; ++x, out += kLanes) {
    for (int r = 0; r < kRows; ++r) std::memcpy(lanes + 4 * r, row[r] + 3 * x, 3);
    for (int i = 0; i < kLanes; ++i) out[i] = lanes[i];
  }
}

// sum[i] = the sum over k of row(k)[i] x weight[k], rounded as torch's compiled loop does: the first product, then whole
// groups of four products that are rounded before they are added in turn, then fused steps. A compile-time n keeps the
// sums in registers.
template <int n, class Row>
void mix(Row row, const float* weight, int taps, float* sum) {
  for (int i = 0; i < n; ++i) sum[i] = row(0)[i] * weight[0];
  const int grouped = 1 + (taps - 1) / 4 * 4;
  for (int k = 1; k < grouped; ++k)
    for (int i = 0; i < n; ++i) sum[i] += row(k)[i] * weight[k];
  for (int k = grouped; k < taps; ++k)
    for (int i = 0; i < n; ++i) sum[i] = std::fma(row(k)[i], weight[k], sum[i]);
}

template <int n>
void mix_rows(const float* const* row, int64_t at, const float* weight, int taps, uint8_t* out) {
  float sum[n];
  mix<n>([&](int k) { return row[k] + at; }, weight, taps, sum);
  for (int i = 0; i < n; ++i) out[i] = uint8_t(std::nearbyint(std::clamp(sum[i], 0.0f, 255.0f)));  // half to even
}

}  // namespace

void FloatResizer::resize(ImageView in, const ResizeTarget& to, Resample resample, uint8_t* out, int64_t stride) {
  expect(in.height > 0 && in.width > 0, "a picture cannot be resized from nothing");
  const Range columns{to.part.left, to.part.left + to.part.width}, rows{to.part.top, to.part.top + to.part.height};
  expect(
      !columns.empty() && !rows.empty() && Range{0, to.width}.contains(columns) && Range{0, to.height}.contains(rows),
      "the wanted part of a resized picture lies outside it");
  const Weights across = weights_of(in.width, to.width, resample, columns),
                down = weights_of(in.height, to.height, resample, rows);
  const Range used{across.first.front(), across.first.back() + across.count.back()};
  const int64_t values = 3 * columns.size(), padded = align_up(values + 1, 16);  // a row's last pixel is stored as four
  const int64_t ring = align_up(down.taps + kRows, kRows);
  pixels_.resize(size_t(used.size()) * kLanes);
  rows_.resize(size_t(ring * padded));
  std::vector<const float*> row(size_t(down.taps));

  int64_t resized = down.first.front() / kRows * kRows;  // rows before it are in the ring or no longer needed
  for (size_t y = 0; y < down.first.size(); ++y, out += stride) {
    const int64_t first = down.first[y], end = first + down.count[y];
    for (; resized < end; resized += kRows) {
      const uint8_t* from[kRows];
      for (int r = 0; r < kRows; ++r) from[r] = in.pixels + std::min<int64_t>(resized + r, in.height - 1) * in.stride;
      to_floats(from, used, pixels_.data());
      float* into = rows_.data() + resized % ring * padded;
      for (size_t x = 0; x < across.first.size(); ++x) {
        float mixed[kLanes];
        const float* pixels = pixels_.data() + (across.first[x] - used.begin) * kLanes;
        mix<kLanes>([&](int k) { return pixels + k * kLanes; }, across.value.data() + x * across.taps, across.count[x],
                    mixed);
        for (int r = 0; r < kRows; ++r) std::memcpy(into + r * padded + 3 * x, mixed + 4 * r, 4 * sizeof(float));
      }
    }
    for (int64_t k = first; k < end; ++k) row[size_t(k - first)] = rows_.data() + k % ring * padded;
    const float* weight = down.value.data() + y * down.taps;
    int64_t i = 0;
    for (; i + 64 <= values; i += 64) mix_rows<64>(row.data(), i, weight, down.count[y], out + i);
    for (; i + 8 <= values; i += 8) mix_rows<8>(row.data(), i, weight, down.count[y], out + i);
    for (; i < values; ++i) mix_rows<1>(row.data(), i, weight, down.count[y], out + i);
  }
}

}  // namespace viaduct
