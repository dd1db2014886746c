#include "core/ops/cuda/attention_kernels.cuh"

namespace viaduct::ops::cuda {

Shape attention_scratch(const AttentionArgs&) { return {0}; }
Shape attention_backward_scratch(const AttentionArgs& a) {
  return {on_tensor_cores(a) ? ceil_div(tensor_core_backward_scratch(a), int64_t(sizeof(float))) : 0};
}

void attention(Ctx& ctx, Tensor out, Tensor lse, Tensor, const AttentionArgs& a) {
  if (on_tensor_cores(a)) return tensor_core_attention(ctx, {ctx, a, out, lse});
  dispatch_device(out.dtype, [&]<class T>() { plain_attention<T>(ctx, {ctx, a, out, lse}); });
}

void attention_backward(Ctx& ctx, const AttentionGrads& grads, Tensor dout, Tensor out, Tensor lse, Tensor scratch,
                        const AttentionArgs& a) {
  dispatch_device(out.dtype, [&]<class T>() {
    AttentionOperands<T> operands(ctx, a, out, lse);
    operands.set_gradients(grads, dout);
    if constexpr (sizeof(T) == 2)
      if (on_tensor_cores(a)) return tensor_core_attention_backward(ctx, operands, scratch.data);
    plain_attention_backward<T>(ctx, operands);
  });
}

}  // namespace viaduct::ops::cuda
