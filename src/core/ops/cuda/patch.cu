#include "core/ops/cuda/patch.hpp"

#include <numeric>

#include "core/ops/cuda/rows.cuh"

namespace viaduct::ops::cuda {
namespace {

constexpr int kPatchThreads = 256;
constexpr int64_t kPatchBlocks = 2048;  // of patchify, in all: each makes a table first, and should use it often

// The Normalization as a kernel takes it.
struct Levels {
  double rescale;
  float mean[3], std[3];
};

struct Images {
  int64_t samples;
  uint32_t height, width, patch, across, down;  // of an image in pixels; in patches
};

// A thread moves N pixels of a row of a patch, in all samples that its block serves. What a pixel's value becomes is
// looked up: three tables of the block, in HF's order and precision.
template <int N, class T>
__global__ void __launch_bounds__(kPatchThreads)
    patchify_kernel(T* patches, const uint8_t* pixels, Images images, Levels levels) {
  __shared__ T table[3][256];
  for (int value = int(threadIdx.x); value < 256; value += kPatchThreads) {
    float rescaled = float(double(value) * levels.rescale);
    for (int c = 0; c < 3; ++c) table[c][value] = from_float<T>((rescaled - levels.mean[c]) / levels.std[c]);
  }
  __syncthreads();
  const uint32_t P = images.patch, pieces = P / N, count = images.down * images.across * P * pieces;
  const int64_t pixel_count = int64_t(images.height) * images.width, plane = int64_t(P) * P;
  for (uint32_t i = blockIdx.x * kPatchThreads + threadIdx.x; i < count; i += gridDim.x * kPatchThreads) {
    uint32_t x = i % pieces * N, y = i / pieces % P, g = i / pieces / P;
    uint32_t row = g / images.across * P + y, column = g % images.across * P + x;
    const uint8_t* from = pixels + 3 * (int64_t(row) * images.width + column);
    T* to = patches + 3 * plane * g + y * P + x;
    for (int64_t b = blockIdx.y; b < images.samples; b += gridDim.y) {
      Pack<uint8_t, N> bytes[3];
#pragma unroll
      for (int k = 0; k < 3; ++k) bytes[k] = load_pack<N>(from + 3 * pixel_count * b + k * N);
      T* sample = to + 3 * plane * images.down * images.across * b;
#pragma unroll
      for (int c = 0; c < 3; ++c) {
        Pack<T, N> out;
#pragma unroll
        for (int k = 0; k < N; ++k) out.v[k] = table[c][bytes[(3 * k + c) / N].v[(3 * k + c) % N]];
        store_pack(sample + c * plane, out);
      }
    }
  }
}

// A sample's tokens [size] are cls [special] and its patches, one after the other: no row is ever looked for. A thread
// adds one pack of the positions to several samples.
template <int N, class T>
__global__ void __launch_bounds__(kPatchThreads)
    assemble_tokens_kernel(T* tokens, const T* patches, const T* cls, const T* positions, int64_t samples, int64_t size,
                           int64_t special) {
  constexpr int U = 4;
  for (int64_t i = (int64_t(blockIdx.x) * kPatchThreads + threadIdx.x) * N; i < size;
       i += int64_t(gridDim.x) * kPatchThreads * N) {
    auto position = load_pack<N>(positions + i);
    for (int64_t first = int64_t(blockIdx.y) * U; first < samples; first += int64_t(gridDim.y) * U) {
      Pack<T, N> held[U];
#pragma unroll
      for (int u = 0; u < U; ++u)
        if (int64_t b = first + u; b < samples)
          held[u] = load_pack<N>(i < special ? cls + i : patches + b * (size - special) + i - special);
#pragma unroll
      for (int u = 0; u < U; ++u) {
        if (first + u >= samples) break;
#pragma unroll
        for (int k = 0; k < N; ++k) held[u].v[k] = from_float<T>(to_float(held[u].v[k]) + to_float(position.v[k]));
        store_pack(tokens + (first + u) * size + i, held[u]);
      }
    }
  }
}

// A thread owns a pack of the positions and adds the samples in order.
template <int N, class T>
__global__ void __launch_bounds__(kRowThreads, 3)
    assemble_tokens_backward_kernel(T* dpatches, float* dcls, float* dpositions, const T* dtokens, int64_t samples,
                                    int64_t size, int64_t special) {
  for (int64_t i = (int64_t(blockIdx.x) * kRowThreads + threadIdx.x) * N; i < size;
       i += int64_t(gridDim.x) * kRowThreads * N) {
    float sum[N] = {};
    add_rows<N, 32 / int(sizeof(T)), T>(
        sum, samples, [=](int64_t b) { return dtokens + b * size + i; },
        [=](int64_t b, const Pack<T, N>& d) {
          if (dpatches && i >= special) store_pack(dpatches + b * (size - special) + i - special, d);
        });
    if (dpositions) add_pack(dpositions + i, sum);
    if (dcls && i < special) add_pack(dcls + i, sum);
  }
}

template <int N, class T>
__global__ void __launch_bounds__(kRowThreads, 4)
    add_token_kernel(T* dx, const T* dy, int64_t stride, int64_t samples, int64_t width) {
  for (int64_t b = first_row(); b < samples; b += row_step())
    for (int64_t i = lane() * N; i < width; i += kWarp * N) {
      float sum[N];
      auto d = load_pack<N>(dy + b * width + i);
#pragma unroll
      for (int k = 0; k < N; ++k) sum[k] = to_float(d.v[k]);
      add_pack(dx + b * stride + i, sum);
    }
}

}  // namespace

void patchify(Ctx& ctx, Tensor patches, Tensor pixels, int64_t P, const Normalization& n) {
  int64_t B = pixels.shape[0], H = pixels.shape[1], W = pixels.shape[2], across = W / P, down = H / P;
  expect(H * W <= INT32_MAX, "an image has less than 2^31 pixels");
  Images images{B, uint32_t(H), uint32_t(W), uint32_t(P), uint32_t(across), uint32_t(down)};
  Levels levels{n.rescale, {n.mean[0], n.mean[1], n.mean[2]}, {n.std[0], n.std[1], n.std[2]}};
  dispatch_device(patches.dtype, [&]<class T>() {
    with_width<T>({patches.data, pixels.data}, std::gcd(P, W), [&]<int N>() {
      int64_t blocks = ceil_div(down * across * P * (P / N), kPatchThreads);
      blocks = std::min(blocks, kPatchBlocks);
      Launch l{dim3(unsigned(blocks), blocks ? unsigned(std::min(B, ceil_div(kPatchBlocks, blocks))) : 0),
               kPatchThreads};
      launch(ctx, patchify_kernel<N, T>, l, ptr<T>(patches), ptr<uint8_t>(pixels), images, levels);
    });
  });
}

void assemble_tokens(Ctx& ctx, Tensor tokens, Tensor patches, Tensor cls, Tensor positions) {
  int64_t B = tokens.shape[0], width = tokens.shape[2], size = tokens.shape[1] * width, special = cls.numel();
  dispatch_device(tokens.dtype, [&]<class T>() {
    with_width<T>({tokens.data, patches.data, cls.data, positions.data}, width, [&]<int N>() {
      Launch l{dim3(unsigned(std::min(ceil_div(size, N * kPatchThreads), kRowBlocks)),
                    unsigned(std::min<int64_t>(ceil_div(B, 4), 65535))),
               kPatchThreads};
      launch(ctx, assemble_tokens_kernel<N, T>, l, ptr<T>(tokens), ptr<T>(patches), ptr<T>(cls), ptr<T>(positions), B,
             size, special);
    });
  });
}

void assemble_tokens_backward(Ctx& ctx, Tensor dpatches, Tensor dcls, Tensor dpositions, Tensor dtokens) {
  int64_t B = dtokens.shape[0], width = dtokens.shape[2], size = dtokens.shape[1] * width;
  const int64_t special = dpatches ? size - dpatches.shape[1] * width : dcls ? dcls.numel() : width;
  dispatch_device(dtokens.dtype, [&]<class T>() {
    with_width<T, float>({dpatches.data, dcls.data, dpositions.data, dtokens.data}, width, [&]<int N>() {
      Launch l{unsigned(std::min(ceil_div(size, N * kRowThreads), kRowBlocks)), kRowThreads};
      launch(ctx, assemble_tokens_backward_kernel<N, T>, l, ptr<T>(dpatches), ptr<float>(dcls), ptr<float>(dpositions),
             ptr<T>(dtokens), B, size, special);
    });
  });
}

void select_token(Ctx& ctx, Tensor y, Tensor x, int64_t index) {
  int64_t B = x.shape[0], width = x.shape[2], sample = x.shape[1] * width;
  dispatch_device(y.dtype,
                  [&]<class T>() { copy_rows(ctx, ptr<T>(y), width, ptr<T>(x) + index * width, sample, B, width); });
}

void select_token_backward(Ctx& ctx, Tensor dx, Tensor dy, int64_t index) {
  int64_t B = dx.shape[0], width = dx.shape[2], sample = dx.shape[1] * width;
  dispatch_device(dx.dtype, [&]<class T>() {
    with_width<T>({dx.data, dy.data}, width, [&]<int N>() {
      launch(ctx, add_token_kernel<N, T>, row_launch(B), ptr<T>(dx) + index * width, ptr<T>(dy), sample, B, width);
    });
  });
}

}  // namespace viaduct::ops::cuda
