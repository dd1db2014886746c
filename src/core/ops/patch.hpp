// From images to tokens (Dosovitskiy et al. 2021, section 3.1) and back.
#pragma once
#include <array>

#include "core/device/context.hpp"

namespace viaduct::ops {

// What turns a uint8 value into a network input: (x * rescale - mean) / std per channel, in the order and the precision
// of HF's image processors (rescale in fp64, rounded to fp32, the rest in fp32).
struct Normalization {
  double rescale = 1.0 / 255;
  std::array<float, 3> mean{0.5f, 0.5f, 0.5f}, std{0.5f, 0.5f, 0.5f};
};

// patches [B, G, 3 P P] from pixels [B, H, W, 3] uint8; patch g row-major over the image, its elements in the order of
// a convolution weight [3, P, P]. G = (H / P) (W / P), rests are not read.
void patchify(Ctx&, Tensor patches, Tensor pixels, int64_t patch, const Normalization&);

// tokens [B, K + G, C] = (cls, patches) + positions [K + G, C]; cls [K, C]: a class token, and whatever follows it.
void assemble_tokens(Ctx&, Tensor tokens, Tensor patches, Tensor cls, Tensor positions);
// dpatches [B, G, C] is written; dcls [K, C] and dpositions [K + G, C] (gradient dtype) are accumulated; each
// may be absent.
void assemble_tokens_backward(Ctx&, Tensor dpatches, Tensor dcls, Tensor dpositions, Tensor dtokens);

// y [B, C] = x[:, index] of x [B, T, C]; backward adds dy into dx[:, index].
void select_token(Ctx&, Tensor y, Tensor x, int64_t index);
void select_token_backward(Ctx&, Tensor dx, Tensor dy, int64_t index);

}  // namespace viaduct::ops
