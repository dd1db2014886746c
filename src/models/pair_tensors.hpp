// Images with texts on their way in, and as vectors on their way out.
#pragma once
#include "core/tensor/tensor.hpp"

namespace viaduct {

struct PairInputs {
  Tensor pixels;     // [B, S, S, 3] uint8
  Tensor ids, mask;  // [B, T] int32
};

// Of the text, of the image and of the fused pair, or their gradients; each may be absent.
struct Embeddings {
  Tensor text, image, cross;
};

}  // namespace viaduct
