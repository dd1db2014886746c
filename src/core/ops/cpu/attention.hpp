#pragma once
#include "core/ops/attention.hpp"

namespace viaduct::ops::cpu {

// Working memory: [threads, elements], of the type that is computed in.
Shape attention_scratch(const AttentionArgs&);
Shape attention_backward_scratch(const AttentionArgs&);

void attention(const Ctx&, Tensor out, Tensor lse, Tensor scratch, const AttentionArgs&);
void attention_backward(const Ctx&, const AttentionGrads&, Tensor dout, Tensor out, Tensor lse, Tensor scratch,
                        const AttentionArgs&);

}  // namespace viaduct::ops::cpu
