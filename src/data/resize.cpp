#include "data/resize.hpp"

#include <algorithm>
#include <cstring>

#include "core/base/check.hpp"
#include "core/base/range.hpp"
#include "data/resize_weights.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace viaduct {
namespace {

constexpr int kPrecision = ResizeWeights::kPrecision, kSplit = ResizeWeights::kSplit;

uint8_t rounded(int32_t sum) { return uint8_t(std::clamp(sum >> kPrecision, 0, 255)); }

// One output pixel of the horizontal pass.
void mix_pixels(const uint8_t* in, const int32_t* weight, int taps, uint8_t* out) {
  int32_t sum[3] = {1 << (kPrecision - 1), 1 << (kPrecision - 1), 1 << (kPrecision - 1)};
  for (int k = 0; k < taps; ++k)
    for (int c = 0; c < 3; ++c) sum[c] += in[3 * k + c] * weight[k];
  for (int c = 0; c < 3; ++c) out[c] = rounded(sum[c]);
}

#if defined(__AVX2__)
__m128i four_pixels(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
__m256i broadcast_pair(const int16_t* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof pair);
  return _mm256_set1_epi32(pair);
}

// One output pixel of two rows at once, four inputs at a time; reads 16 bytes where 12 are used.
void mix_pixels_of_two_rows(const uint8_t* row0, const uint8_t* row1, const int16_t* high, const int16_t* low,
                            int count, uint8_t* out0, uint8_t* out1) {
  // Pixels (0, 1) and (2, 3) as 16-bit pairs per channel: r0 r1 g0 g1 b0 b1 0 0.
  const __m256i pick01 =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
  const __m256i pick23 =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1));
  __m256i sum_high = _mm256_setzero_si256(), sum_low = _mm256_set1_epi32(1 << (kPrecision - 1));
  for (int k = 0; k < count; k += 4) {
    const __m256i pixels =
        _mm256_inserti128_si256(_mm256_castsi128_si256(four_pixels(row0 + 3 * k)), four_pixels(row1 + 3 * k), 1);
    const __m256i p01 = _mm256_shuffle_epi8(pixels, pick01), p23 = _mm256_shuffle_epi8(pixels, pick23);
    sum_high = _mm256_add_epi32(sum_high, _mm256_madd_epi16(p01, broadcast_pair(high + k)));
    sum_low = _mm256_add_epi32(sum_low, _mm256_madd_epi16(p01, broadcast_pair(low + k)));
    sum_high = _mm256_add_epi32(sum_high, _mm256_madd_epi16(p23, broadcast_pair(high + k + 2)));
    sum_low = _mm256_add_epi32(sum_low, _mm256_madd_epi16(p23, broadcast_pair(low + k + 2)));
  }
  __m256i sum = _mm256_srai_epi32(_mm256_add_epi32(_mm256_slli_epi32(sum_high, kSplit), sum_low), kPrecision);
  sum = _mm256_packus_epi16(_mm256_packs_epi32(sum, sum), sum);
  const int rgb0 = _mm256_extract_epi32(sum, 0), rgb1 = _mm256_extract_epi32(sum, 4);
  std::memcpy(out0, &rgb0, 3);
  std::memcpy(out1, &rgb1, 3);
}
#endif

void resize_horizontally(ImageView in, const ResizeWeights& w, uint8_t* out, int64_t out_stride) {
  const int out_width = int(w.first.size());
  int y = 0;
#if defined(__AVX2__)
  // The vector code reads whole blocks of four pixels and 4 bytes more: to the right of this column it would leave the
  // row.
  int safe = 0;
  while (safe < out_width && w.first[size_t(safe)] + align_up(w.count[size_t(safe)], 4) + 2 <= in.width) ++safe;
  for (; y + 2 <= in.height; y += 2) {
    const uint8_t *row0 = in.pixels + y * in.stride, *row1 = row0 + in.stride;
    uint8_t *out0 = out + y * out_stride, *out1 = out0 + out_stride;
    for (int x = 0; x < safe; ++x) {
      const int64_t from = int64_t(w.first[size_t(x)]) * 3, at = int64_t(x) * w.taps;
      mix_pixels_of_two_rows(row0 + from, row1 + from, w.high.data() + at, w.low.data() + at, w.count[size_t(x)],
                             out0 + 3 * x, out1 + 3 * x);
    }
    for (int x = safe; x < out_width; ++x) {
      const int64_t from = int64_t(w.first[size_t(x)]) * 3, at = int64_t(x) * w.taps;
      mix_pixels(row0 + from, w.value.data() + at, w.count[size_t(x)], out0 + 3 * x);
      mix_pixels(row1 + from, w.value.data() + at, w.count[size_t(x)], out1 + 3 * x);
    }
  }
#endif
  for (; y < in.height; ++y)
    for (int x = 0; x < out_width; ++x)
      mix_pixels(in.pixels + y * in.stride + int64_t(w.first[size_t(x)]) * 3, w.value.data() + int64_t(x) * w.taps,
                 w.count[size_t(x)], out + y * out_stride + 3 * x);
}

// Bytes [begin, begin + n) of one output row; a compile-time n keeps the sums in registers.
template <int n>
void mix_rows(const uint8_t* in, int64_t stride, const int32_t* weight, int taps, uint8_t* out) {
  int32_t sum[n];
  for (int i = 0; i < n; ++i) sum[i] = 1 << (kPrecision - 1);
  for (int k = 0; k < taps; ++k)
    for (int i = 0; i < n; ++i) sum[i] += in[k * stride + i] * weight[k];
  for (int i = 0; i < n; ++i) out[i] = rounded(sum[i]);
}

void resize_vertically(ImageView in, const ResizeWeights& w, uint8_t* out, int64_t out_stride) {
  const int64_t bytes = int64_t(in.width) * 3;
  const int out_height = int(w.first.size());
  for (int y = 0; y < out_height; ++y, out += out_stride) {
    const uint8_t* from = in.pixels + w.first[size_t(y)] * in.stride;
    const int32_t* weight = w.value.data() + int64_t(y) * w.taps;
    int64_t i = 0;
    for (; i + 64 <= bytes; i += 64) mix_rows<64>(from + i, in.stride, weight, w.count[size_t(y)], out + i);
    for (; i + 8 <= bytes; i += 8) mix_rows<8>(from + i, in.stride, weight, w.count[size_t(y)], out + i);
    for (; i < bytes; ++i) mix_rows<1>(from + i, in.stride, weight, w.count[size_t(y)], out + i);
  }
}

void copy(ImageView in, uint8_t* out, int64_t out_stride) {
  for (int y = 0; y < in.height; ++y)
    std::memcpy(out + y * out_stride, in.pixels + y * in.stride, size_t(in.width) * 3);
}

ImageView columns_of(ImageView in, Range r) { return {in.pixels + 3 * r.begin, in.height, int(r.size()), in.stride}; }
ImageView rows_of(ImageView in, Range r) {
  return {in.pixels + r.begin * in.stride, int(r.size()), in.width, in.stride};
}

}  // namespace

void Resizer::resize(ImageView in, const ResizeTarget& to, Resample resample, uint8_t* out, int64_t stride) {
  expect(in.height > 0 && in.width > 0, "a picture cannot be resized from nothing");
  const Range columns{to.part.left, to.part.left + to.part.width}, rows{to.part.top, to.part.top + to.part.height};
  expect(
      !columns.empty() && !rows.empty() && Range{0, to.width}.contains(columns) && Range{0, to.height}.contains(rows),
      "the wanted part of a resized picture lies outside it");
  if (in.width == to.width && in.height == to.height) return copy(rows_of(columns_of(in, columns), rows), out, stride);
  if (in.height == to.height)
    return resize_horizontally(rows_of(in, rows), resize_weights(in.width, to.width, resample, columns), out, stride);
  if (in.width == to.width)
    return resize_vertically(columns_of(in, columns), resize_weights(in.height, to.height, resample, rows), out,
                             stride);

  ResizeWeights across = resize_weights(in.width, to.width, resample, columns),
                down = resize_weights(in.height, to.height, resample, rows);
  const Range used_columns = across.rebase(), used_rows = down.rebase();
  // The rounding between the passes makes their order visible; this is the rule of Pillow 13.
  const bool vertical_first = to.height < in.height && in.height - to.height > 2 * (in.width - to.width);
  in = rows_of(columns_of(in, used_columns), used_rows);
  ImageView between{nullptr, vertical_first ? int(rows.size()) : in.height, vertical_first ? in.width : to.part.width};
  between.stride = int64_t(between.width) * 3;
  between_.resize(size_t(between.height) * between.stride);
  between.pixels = between_.data();
  if (vertical_first) {
    resize_vertically(in, down, between_.data(), between.stride);
    resize_horizontally(between, across, out, stride);
  } else {
    resize_horizontally(in, across, between_.data(), between.stride);
    resize_vertically(between, down, out, stride);
  }
}

}  // namespace viaduct
