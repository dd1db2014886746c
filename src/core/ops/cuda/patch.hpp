#pragma once
#include "core/ops/patch.hpp"

namespace viaduct::ops::cuda {

void patchify(Ctx&, Tensor patches, Tensor pixels, int64_t patch, const Normalization&);
void assemble_tokens(Ctx&, Tensor tokens, Tensor patches, Tensor cls, Tensor positions);
void assemble_tokens_backward(Ctx&, Tensor dpatches, Tensor dcls, Tensor dpositions, Tensor dtokens);
void select_token(Ctx&, Tensor y, Tensor x, int64_t index);
void select_token_backward(Ctx&, Tensor dx, Tensor dy, int64_t index);

}  // namespace viaduct::ops::cuda
