// Fused multiply-adds are spelt out here and none are added: the results are torch's to the bit.
#pragma GCC optimize("fp-contract=off")
#include "data/resize_float.hpp"

#include <algorithm>
#include <bit>
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
    const int count = std::clamp(end - begin, 1, w.taps);  // rounding may ask for one too many
    float* value = w.value.data() + i * w.taps;
    float sum = 0;
    for (int j = 0; j < count; ++j) sum += value[j] = filter.weight(float((float(begin + j) - centre + 0.5) * inverse));
    for (int j = 0; j < count; ++j) value[j] /= sum;
    w.first[i] = begin, w.count[i] = count;
  }
  return w;
}

// A register of floats: in the horizontal pass a pixel of some rows, each with a fourth value of no meaning.
#if defined(__AVX512F__)
constexpr int kLanes = 16;
#else
constexpr int kLanes = 8;
#endif
constexpr int kRows = kLanes / 4;
using Floats __attribute__((vector_size(kLanes * 4))) = float;
using Words __attribute__((vector_size(kLanes * 4))) = int32_t;
using Bytes __attribute__((vector_size(kLanes))) = uint8_t;

Floats load(const float* from) {
  Floats x;
  std::memcpy(&x, from, sizeof x);
  return x;
}

Floats fused(Floats a, float b, Floats c) {
  for (int i = 0; i < kLanes; ++i) c[i] = std::fma(a[i], b, c[i]);
  return c;
}

// Pixels `columns` of a row of `width`, each to four values of a vector: out[column][row of kRows][4], of which `out`
// is this row's first.
void to_floats(const uint8_t* row, Range columns, int64_t width, float* out) {
  using Bytes __attribute__((vector_size(16))) = uint8_t;
  using Quad __attribute__((vector_size(16))) = float;
  using Integers __attribute__((vector_size(16))) = int32_t;
  constexpr uint8_t o = 16;  // a zero
  const Bytes spread[4] = {{0, o, o, o, 1, o, o, o, 2, o, o, o, o, o, o, o},
                           {3, o, o, o, 4, o, o, o, 5, o, o, o, o, o, o, o},
                           {6, o, o, o, 7, o, o, o, 8, o, o, o, o, o, o, o},
                           {9, o, o, o, 10, o, o, o, 11, o, o, o, o, o, o, o}};
  int64_t x = columns.begin;
  for (; x + 4 <= columns.end && 3 * x + int64_t{sizeof(Bytes)} <= 3 * width; x += 4, out += 4 * kLanes) {
    Bytes four;
    std::memcpy(&four, row + 3 * x, sizeof four);
    for (int i = 0; i < 4; ++i) {
      const auto pixel = std::bit_cast<Integers>(__builtin_shuffle(four, Bytes{}, spread[i]));
      const Quad quad = __builtin_convertvector(pixel, Quad);
      std::memcpy(out + i * kLanes, &quad, sizeof quad);
    }
  }
  for (; x < columns.end; ++x, out += kLanes)
    for (int c = 0; c < 3; ++c) out[c] = row[3 * x + c];
}

// sum = the sum over k of row(k) x weight[k], rounded as torch's compiled loop does: the first product, then whole groups
// of four products that are rounded before they are added in turn, then fused steps.
template <int n, class Row>
void mix(Row row, const float* weight, int taps, Floats (&sum)[n]) {
  for (int i = 0; i < n; ++i) sum[i] = load(row(0) + i * kLanes) * weight[0];
  const int grouped = 1 + (taps - 1) / 4 * 4;
  for (int k = 1; k < grouped; ++k)
    for (int i = 0; i < n; ++i) sum[i] += load(row(k) + i * kLanes) * weight[k];
  for (int k = grouped; k < taps; ++k)
    for (int i = 0; i < n; ++i) sum[i] = fused(load(row(k) + i * kLanes), weight[k], sum[i]);
}

// The horizontal pass of kRows rows from `first` on: out[row][column][3], rows `stride` floats apart, each with room for
// one float more. `pixels` is scratch memory.
void mix_columns(ImageView in, int64_t first, const Weights& w, std::vector<float>& pixels, float* out,
                 int64_t stride) {
  const Range used{w.first.front(), w.first.back() + w.count.back()};
  pixels.resize(size_t(used.size()) * kLanes);
  for (int r = 0; r < kRows; ++r) {
    const int64_t y = std::min<int64_t>(first + r, in.height - 1);
    to_floats(in.pixels + y * in.stride, used, in.width, pixels.data() + 4 * r);
  }
  for (size_t x = 0; x < w.first.size(); ++x) {
    const float* from = pixels.data() + (w.first[x] - used.begin) * kLanes;
    Floats sum[1];
    mix([&](int k) { return from + k * kLanes; }, w.value.data() + x * w.taps, w.count[x], sum);
    for (int r = 0; r < kRows; ++r)
      std::memcpy(out + r * stride + 3 * x, reinterpret_cast<const float*>(sum) + 4 * r, 4 * sizeof(float));
  }
}

Bytes rounded(Floats x) {
  x = x < 0 ? Floats{} : x;
  x = x > 255 ? Floats{} + 255 : x;
  const float whole = 1 << 23;  // nothing fractional is left beside it: rounded half to even
  return __builtin_convertvector(__builtin_convertvector((x + whole) - whole, Words), Bytes);
}

// Vectors of one output row, from floats `at` of the input rows on.
template <int n>
void mix_rows(const float* const* row, int64_t at, const float* weight, int taps, uint8_t* out) {
  Floats sum[n];
  mix([&](int k) { return row[k] + at; }, weight, taps, sum);
  for (int i = 0; i < n; ++i) {
    const Bytes bytes = rounded(sum[i]);
    std::memcpy(out + i * kLanes, &bytes, sizeof bytes);
  }
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
  const int64_t values = 3 * columns.size(), padded = align_up(values + 1, kLanes);
  const int64_t ring = align_up(down.taps + kRows, kRows);
  rows_.resize(size_t(ring * padded));
  std::vector<const float*> row(size_t(down.taps));
  int64_t resized = down.first.front() / kRows * kRows;  // rows before it are in the ring, or nothing is made of them
  for (size_t y = 0; y < down.first.size(); ++y, out += stride) {
    const int64_t first = down.first[y], end = first + down.count[y];
    for (; resized < end; resized += kRows)
      mix_columns(in, resized, across, pixels_, rows_.data() + resized % ring * padded, padded);
    for (int64_t k = first; k < end; ++k) row[size_t(k - first)] = rows_.data() + k % ring * padded;
    const float* weight = down.value.data() + y * down.taps;
    int64_t i = 0;
    for (; i + 4 * kLanes <= values; i += 4 * kLanes) mix_rows<4>(row.data(), i, weight, down.count[y], out + i);
    for (; i + kLanes <= values; i += kLanes) mix_rows<1>(row.data(), i, weight, down.count[y], out + i);
    uint8_t last[kLanes];
    mix_rows<1>(row.data(), i, weight, down.count[y], last);
    std::memcpy(out + i, last, size_t(values - i));
  }
}

}  // namespace viaduct
