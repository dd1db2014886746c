// How attention.cu hands over to the kernels, each kind in a file of its own.
#pragma once
#include "core/ops/cuda/attention_operands.cuh"

namespace viaduct::ops::cuda {

// On tensor cores: bf16, and a head dimension that has a kernel.
inline bool on_tensor_cores(const AttentionArgs& a) {
  const int64_t d = a.head_dim;
  return a.q.rows.dtype == DType::bf16 && (d == 32 || d == 64 || d == 80 || d == 128);
}
void tensor_core_attention(const Ctx&, const AttentionOperands<bfloat16>&);
int64_t tensor_core_backward_scratch(const AttentionArgs&);  // bytes
void tensor_core_attention_backward(const Ctx&, const AttentionOperands<bfloat16>&, void* scratch);

// Any type and head dimension, in fp32.
template <class T>
void plain_attention(const Ctx&, const AttentionOperands<T>&);
template <class T>
void plain_attention_backward(const Ctx&, const AttentionOperands<T>&);

}  // namespace viaduct::ops::cuda
