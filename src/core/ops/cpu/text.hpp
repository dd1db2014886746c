#pragma once
#include "core/ops/text.hpp"

namespace viaduct::ops::cpu {

void embed_text(Tensor y, Tensor ids, const TextTables&, int32_t pad);
void embed_text_backward(const TextTables& grads, Tensor dy, Tensor ids, int32_t pad);

}  // namespace viaduct::ops::cpu
