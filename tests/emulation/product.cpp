// The loops behind cublasLtMatmul: fp32 sums of bf16 or fp32 operands, and the epilogues.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "cublaslt.hpp"
#include "cuda_bf16.h"

namespace emulation {
namespace {

constexpr int kLanes = 8, kRows = 2 * kLanes, kColumns = 4;  // of D at a time, in registers
using Vector = float __attribute__((vector_size(kLanes * 4)));

float load(const void* p, int64_t i, uint32_t type) {
  return type == CUDA_R_32F ? static_cast<const float*>(p)[i] : float(static_cast<const __nv_bfloat16*>(p)[i]);
}
void store(void* p, int64_t i, uint32_t type, float v) {
  if (type == CUDA_R_32F)
    static_cast<float*>(p)[i] = v;
  else
    static_cast<__nv_bfloat16*>(p)[i] = v;
}
const void* batch_of(const void* p, const cublasLtMatrixLayoutOpaque_t& l, int64_t batch) {
  return static_cast<const char*>(p) + batch * l.stride * int64_t(bytes_of(l.type));
}
float to_tf32(float x) { return bits<float>((bits<uint32_t>(x) + 0x1000u) & 0xffffe000u); }  // 10 bits of mantissa

// Element (i, l) of the operand, for i in panels of `width`, the last filled up with zeros: [panels][depth][width].
std::vector<float> pack(const void* p, const cublasLtMatrixLayoutOpaque_t& layout, bool across, int64_t size,
                        int64_t depth, int width, bool tf32) {
  int64_t panels = (size + width - 1) / width;
  std::vector<float> packed(size_t(panels * depth * width), 0.0f);
#pragma omp parallel for
  for (int64_t panel = 0; panel < panels; ++panel)
    for (int64_t l = 0; l < depth; ++l)
      for (int64_t i = panel * width; i < std::min(size, (panel + 1) * width); ++i) {
        float v = load(p, across ? l * layout.ld + i : i * layout.ld + l, layout.type);
        packed[size_t((panel * depth + l) * width + i % width)] = tf32 ? to_tf32(v) : v;
      }
  return packed;
}

struct Tile {
  Vector low[kColumns] = {}, high[kColumns] = {};  // rows 0 to 7 and 8 to 15 of each column
};

// One tile of D: the sum over [first, last) of k.
Tile sum_tile(const float* a, const float* b, int64_t first, int64_t last) {
  Tile sum;
  for (int64_t l = first; l < last; ++l) {
    Vector low, high;
    std::memcpy(&low, a + l * kRows, sizeof low), std::memcpy(&high, a + l * kRows + kLanes, sizeof high);
    for (int j = 0; j < kColumns; ++j)
      sum.low[j] += low * b[l * kColumns + j], sum.high[j] += high * b[l * kColumns + j];
  }
  return sum;
}

// op(A) op(B) [m, n], by columns.
std::vector<float> multiply(const Product& p, const std::vector<float>& a, const std::vector<float>& b) {
  int64_t m = p.m(), n = p.n(), k = p.k();
  std::vector<float> d(size_t(m * n));
#pragma omp parallel for schedule(dynamic)
  for (int64_t j = 0; j < n; j += kColumns)
    for (int64_t i = 0; i < m; i += kRows) {
      Tile total;
      for (int s = 0; s < p.splits; ++s) {
        Tile part = sum_tile(&a[size_t(i * k)], &b[size_t(j * k)], k * s / p.splits, k * (s + 1) / p.splits);
        for (int c = 0; c < kColumns; ++c) total.low[c] += part.low[c], total.high[c] += part.high[c];
      }
      for (int c = 0; c < std::min<int64_t>(kColumns, n - j); ++c)
        for (int r = 0; r < std::min<int64_t>(kRows, m - i); ++r)
          d[size_t((j + c) * m + i + r)] = r < kLanes ? total.low[c][r] : total.high[c][r - kLanes];
    }
  return d;
}

// GELU in its tanh form, and its derivative.
constexpr float kSlope = 0.7978845608028654f, kCubic = 0.044715f;  // sqrt(2 / pi)
float gelu(float x) { return 0.5f * x * (1 + std::tanh(kSlope * (x + kCubic * x * x * x))); }
float gelu_derivative(float x) {
  float t = std::tanh(kSlope * (x + kCubic * x * x * x));
  return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * kSlope * (1 + 3 * kCubic * x * x);
}

// Sums of op(A) over its columns, or of op(B) over its rows.
void operand_gradient(const Product& p, const std::vector<float>& packed, int width, int64_t size, void* bias) {
  for (int64_t i = 0; i < size; ++i) {
    float sum = 0;
    for (int64_t l = 0; l < p.k(); ++l) sum += packed[size_t((i / width * p.k() + l) * width + i % width)];
    store(bias, i, p.d_layout.type, sum);
  }
}

void finish(const Product& p, int64_t batch, std::vector<float>& product, void* bias) {
  float alpha = p.how.pointer_mode == CUBLASLT_POINTER_MODE_HOST ? p.alpha_value : *static_cast<const float*>(p.alpha);
  float beta = p.how.pointer_mode == CUBLASLT_POINTER_MODE_HOST ? p.beta_value : *static_cast<const float*>(p.beta);
  const void* c = batch_of(p.c, p.c_layout, batch);
  void* d = const_cast<void*>(batch_of(p.d, p.d_layout, batch));
  uint32_t type = p.d_layout.type;
  void* aux =
      p.has_aux() ? static_cast<char*>(p.how.aux) + batch * p.how.aux_stride * int64_t(bytes_of(type)) : nullptr;
  std::vector<float> bias_gradient(size_t(p.m()), 0.0f);
  for (int64_t j = 0; j < p.n(); ++j)
    for (int64_t i = 0; i < p.m(); ++i) {
      float x = alpha * product[size_t(j * p.m() + i)];
      if (beta != 0) x += beta * load(c, j * p.c_layout.ld + i, p.c_layout.type);
      if (p.adds_bias()) x += load(bias, i, type);
      if (p.writes_aux()) store(aux, j * p.how.aux_ld + i, type, x);
      if (p.is_gelu()) x = gelu(x);
      if (p.has(CUBLASLT_EPILOGUE_RELU)) x = std::max(x, 0.0f);
      if (p.is_dgelu()) x *= gelu_derivative(load(aux, j * p.how.aux_ld + i, type));
      bias_gradient[size_t(i)] += x;
      store(d, j * p.d_layout.ld + i, type, x);
    }
  if (p.has_bias_gradient() && p.is_dgelu())
    for (int64_t i = 0; i < p.m(); ++i) store(bias, i, type, bias_gradient[size_t(i)]);
}

}  // namespace

void compute(const Product& p) {
  bool tf32 = p.how.compute == CUBLAS_COMPUTE_32F_FAST_TF32 && p.a_layout.type == CUDA_R_32F;
  for (int64_t batch = 0; batch < p.d_layout.batches; ++batch) {
    std::vector<float> a =
        pack(batch_of(p.a, p.a_layout, batch), p.a_layout, p.how.transpose_a == CUBLAS_OP_N, p.m(), p.k(), kRows, tf32);
    std::vector<float> b = pack(batch_of(p.b, p.b_layout, batch), p.b_layout, p.how.transpose_b != CUBLAS_OP_N, p.n(),
                                p.k(), kColumns, tf32);
    std::vector<float> product = multiply(p, a, b);
    void* bias = static_cast<char*>(p.how.bias) + batch * p.how.bias_stride * int64_t(bytes_of(p.d_layout.type));
    finish(p, batch, product, bias);
    if (p.how.epilogue == CUBLASLT_EPILOGUE_BGRADA) operand_gradient(p, a, kRows, p.m(), bias);
    if (p.how.epilogue == CUBLASLT_EPILOGUE_BGRADB) operand_gradient(p, b, kColumns, p.n(), bias);
  }
}

}  // namespace emulation
