#pragma once
#include "core/ops/attention.hpp"

namespace viaduct::ops::cuda {

// Working memory, of fp32.
Shape attention_scratch(const AttentionArgs&);
Shape attention_backward_scratch(const AttentionArgs&);

void attention(Ctx&, Tensor out, Tensor lse, Tensor scratch, const AttentionArgs&);
void attention_backward(Ctx&, const AttentionGrads&, Tensor dout, Tensor out, Tensor lse, Tensor scratch,
                        const AttentionArgs&);

}  // namespace viaduct::ops::cuda
