#pragma once
#include "core/ops/patch.hpp"

namespace viaduct::ops::cpu {

void patchify(Tensor patches, Tensor pixels, int64_t patch, const Normalization&);
void assemble_tokens(Tensor tokens, Tensor patches, Tensor cls, Tensor positions);
void assemble_tokens_backward(Tensor dpatches, Tensor dcls, Tensor dpositions, Tensor dtokens);
void select_token(Tensor y, Tensor x, int64_t index);
void select_token_backward(Tensor dx, Tensor dy, int64_t index);

}  // namespace viaduct::ops::cpu
