#pragma once
#include "core/ops/text.hpp"

namespace viaduct::ops::cuda {

void embed_text(Ctx&, Tensor y, Tensor ids, const TextTables&, int32_t pad);
void embed_text_backward(Ctx&, const TextTables& grads, Tensor dy, Tensor ids, int32_t pad);

}  // namespace viaduct::ops::cuda
