// The embedding of token ids as RoBERTa makes it (Liu et al. 2019).
#pragma once
#include "core/device/context.hpp"

namespace viaduct::ops {

// words [V, C], positions [P, C], types [K, C], of which row 0 serves: texts come alone.
struct TextTables {
  Tensor words, positions, types;
};

// y [B, T, C] = (words[id] + types[0]) + positions[p], ids [B, T] int32. The k-th token that is no padding stands at
// p = pad + k, padding at p = pad: from the ids, not from an attention mask.
void embed_text(Ctx&, Tensor y, Tensor ids, const TextTables&, int32_t pad);

// Adds to the gradients of the tables (gradient dtype); each may be absent. Row `pad` of words and positions gets none.
void embed_text_backward(Ctx&, const TextTables& grads, Tensor dy, Tensor ids, int32_t pad);

}  // namespace viaduct::ops
