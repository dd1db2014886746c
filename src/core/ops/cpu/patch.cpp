#include "core/ops/cpu/patch.hpp"

#include <cstring>

#include "core/ops/cpu/parallel.hpp"

namespace viaduct::ops::cpu {
namespace {

// Every value that a pixel can take, per channel: the arithmetic of HF's processors once instead of per pixel.
template <class T>
std::array<std::array<T, 256>, 3> normalized_values(const Normalization& n) {
  std::array<std::array<T, 256>, 3> table;
  for (size_t channel = 0; channel < 3; ++channel)
    for (size_t value = 0; value < 256; ++value) {
      float rescaled = float(double(value) * n.rescale);
      table[channel][value] = T((rescaled - n.mean[channel]) / n.std[channel]);
    }
  return table;
}

template <class T, class C>
void add_row(C* to, const T* from, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) to[i] += C(from[i]);
}

}  // namespace

void patchify(Tensor patches, Tensor pixels, int64_t P, const Normalization& normalization) {
  int64_t B = pixels.shape[0], H = pixels.shape[1], W = pixels.shape[2], across = W / P, down = H / P;
  dispatch(patches.dtype, [&]<class T>() {
    const auto table = normalized_values<T>(normalization);
    const auto* image = static_cast<const uint8_t*>(pixels.data);
    parallel_rows(B * down * across, 3 * P * P, [&](int64_t g) {
      int64_t b = g / (down * across), row = g / across % down, column = g % across;
      const uint8_t* corner = image + ((b * H + row * P) * W + column * P) * 3;
      T* to = data<T>(patches) + g * 3 * P * P;
      for (int64_t channel = 0; channel < 3; ++channel)
        for (int64_t y = 0; y < P; ++y)
          for (int64_t x = 0; x < P; ++x)
            to[(channel * P + y) * P + x] = table[size_t(channel)][corner[(y * W + x) * 3 + channel]];
    });
  });
}

void assemble_tokens(Tensor tokens, Tensor patches, Tensor cls, Tensor positions) {
  int64_t T = tokens.shape[1], width = tokens.shape[2], K = T - patches.shape[1];
  dispatch(tokens.dtype, [&]<class E>() {
    using C = compute_t<E>;
    E* to = data<E>(tokens);
    const E *from = data<E>(patches), *first = data<E>(cls), *position = data<E>(positions);
    parallel_rows(tokens.shape.rows(), width, [=](int64_t r) {
      int64_t b = r / T, t = r % T;
      const E *token = t < K ? first + t * width : from + (b * (T - K) + t - K) * width, *at = position + t * width;
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) to[r * width + i] = C(token[i]) + C(at[i]);
    });
  });
}

void assemble_tokens_backward(Tensor dpatches, Tensor dcls, Tensor dpositions, Tensor dtokens) {
  int64_t B = dtokens.shape[0], T = dtokens.shape[1], width = dtokens.shape[2];
  const int64_t K = dpatches ? T - dpatches.shape[1] : dcls ? dcls.numel() / width : 1;
  dispatch(dtokens.dtype, [&]<class E>() {
    using C = compute_t<E>;
    const E* from = data<E>(dtokens);
    E* to = dpatches ? data<E>(dpatches) : nullptr;
    C *first = dcls ? data<C>(dcls) : nullptr, *positions = dpositions ? data<C>(dpositions) : nullptr;
    // A thread owns a position and adds the samples in order.
    parallel_rows(T, B * width, [=](int64_t t) {
      for (int64_t b = 0; b < B; ++b) {
        const E* g = from + (b * T + t) * width;
        if (positions) add_row(positions + t * width, g, width);
        if (t >= K && to) std::memcpy(to + (b * (T - K) + t - K) * width, g, size_t(width) * sizeof(E));
        if (t < K && first) add_row(first + t * width, g, width);
      }
    });
  });
}

void select_token(Tensor y, Tensor x, int64_t index) {
  size_t token = size_t(x.shape[2] * size_of(x.dtype)), sample = token * size_t(x.shape[1]);
  for (size_t b = 0; b < size_t(x.shape[0]); ++b)
    std::memcpy(static_cast<std::byte*>(y.data) + b * token,
                static_cast<const std::byte*>(x.data) + b * sample + size_t(index) * token, token);
}

void select_token_backward(Tensor dx, Tensor dy, int64_t index) {
  int64_t B = dx.shape[0], T = dx.shape[1], width = dx.shape[2];
  dispatch(dx.dtype, [&]<class E>() {
    using C = compute_t<E>;
    for (int64_t b = 0; b < B; ++b) {
      E* to = data<E>(dx) + (b * T + index) * width;
      const E* from = data<E>(dy) + b * width;
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) to[i] = C(to[i]) + C(from[i]);
    }
  });
}

}  // namespace viaduct::ops::cpu
