#include "core/ops/cuda/attention_plain.cuh"

#include <algorithm>

#include "core/ops/cuda/attention_kernels.cuh"

namespace viaduct::ops::cuda {
namespace {

// The largest tile whose matrices fit shared memory and that the rows can use.
template <class T>
void launch_plain(const Ctx& ctx, void (*kernel)(AttentionOperands<T>, int), const AttentionOperands<T>& a, int rows,
                  int operands, int scores) {
  constexpr size_t kMostShared = 96 << 10;  // every GPU since Ampere allows it
  int tile = 64;
  auto bytes = [&] { return plain_shared_bytes(tile, a.dim, operands, scores); };
  while (tile > 1 && (bytes() > kMostShared || tile / 2 >= std::max(a.q.rows, a.k.rows))) tile /= 2;
  if (bytes() > kMostShared)
    fail_config(fmt::format("attention on cuda has no room for heads of {} elements; 4,095 is the most", a.dim));
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes())));
  launch(ctx, kernel, {dim3(unsigned(a.heads_in_all * ceil_div(rows, tile))), dim3(kPlainThreads), bytes()}, a, tile);
}

}  // namespace

template <class T>
void plain_attention(const Ctx& ctx, const AttentionOperands<T>& a) {
  launch_plain(ctx, plain_attention_kernel<T>, a, a.q.rows, 4, 1);
}
template <class T>
void plain_attention_backward(const Ctx& ctx, const AttentionOperands<T>& a) {
  launch_plain(ctx, plain_query_gradient_kernel<T>, a, a.q.rows, 5, 2);
  launch_plain(ctx, plain_key_gradient_kernel<T>, a, a.k.rows, 6, 2);
}
template void plain_attention(const Ctx&, const AttentionOperands<float>&);
template void plain_attention(const Ctx&, const AttentionOperands<bfloat16>&);
template void plain_attention_backward(const Ctx&, const AttentionOperands<float>&);
template void plain_attention_backward(const Ctx&, const AttentionOperands<bfloat16>&);

}  // namespace viaduct::ops::cuda
