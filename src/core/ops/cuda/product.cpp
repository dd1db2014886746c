#include "core/ops/cuda/product.hpp"

#include "core/base/range.hpp"
#include "core/ops/cuda/column_sums.hpp"
#include "core/ops/cuda/elementwise.hpp"
#include "core/ops/cuda/product_choice.hpp"

namespace viaduct::ops::cuda {
namespace {

// The largest power of two up to 16 that divides all addresses; on meta what an arena gives.
int alignment_of(const Product& p) {
  uintptr_t bits = 16;
  for (const Tensor* t : {&p.d, &p.left, &p.right, &p.added, &p.pre}) bits |= reinterpret_cast<uintptr_t>(t->data);
  return int(bits & -bits);
}
bool is_aligned(const Tensor& t, uintptr_t bytes) { return reinterpret_cast<uintptr_t>(t.data) % bytes == 0; }

// What of the product's end cuBLASLt knows; its matrices `pre` have rows of 16 bytes, aligned to that.
Epilogue epilogue_of(const Product& p, const ProductKey& key) {
  if (p.left_sums) return Epilogue::left_sums;
  if (p.activation != Activation::gelu_tanh || key.result != key.operands || key.alignment < 16 || key.columns % 8)
    return Epilogue::none;
  return p.slope ? Epilogue::gelu_slope : p.pre ? Epilogue::gelu_pre : Epilogue::gelu;
}

// d = added + left right + bias into `d`, with the key's epilogue.
void run(Ctx& ctx, Product p, const ProductKey& key, const ProductMemory& memory, Tensor d) {
  p.d = d;
  Tensor row = key.epilogue == Epilogue::left_sums ? memory.row : p.bias;
  if (p.bias && (p.bias.dtype != d.dtype || !is_aligned(p.bias, 16))) copy(ctx, row = memory.row, p.bias);
  auto workspace =
      uintptr_t(align_up(int64_t(reinterpret_cast<uintptr_t>(memory.workspace.data)), kWorkspaceAlignment));
  ProductOperands operands{
      p.left.data, p.right.data, p.added.data, d.data, row.data, p.pre.data, reinterpret_cast<void*>(workspace)};
  auto stream = static_cast<cudaStream_t>(ctx.stream.native());
  if (!ProductChoice::of_process().run(ctx.device().index, key, operands, stream)) multiply_plainly(ctx, p);
}

}  // namespace

ProductKey key_of(const Product& p) {
  ProductKey key{.rows = p.left_transposed ? p.left.shape.last() : p.left.shape.rows(),
                 .columns = p.right_transposed ? p.right.shape.rows() : p.right.shape.last(),
                 .depth = p.left_transposed ? p.left.shape.rows() : p.left.shape.last(),
                 .left_transposed = p.left_transposed,
                 .right_transposed = p.right_transposed,
                 .operands = p.left.dtype,
                 .result = p.d.dtype,
                 .added = bool(p.added),
                 .bias = bool(p.bias),
                 .alignment = alignment_of(p)};
  key.epilogue = epilogue_of(p, key);
  return key;
}

ProductMemory product_memory(Arena& arena, const Product& p) {
  ProductMemory memory{.workspace = arena.temp({kProductWorkspace + kWorkspaceAlignment}, DType::u8)};
  if (p.bias) memory.row = arena.temp(p.bias.shape, p.d.dtype);
  if (p.left_sums) memory.row = arena.temp(p.left_sums.shape, DType::f32);
  if (p.left_sums) memory.sums = column_sums_memory(arena, p.left);
  return memory;
}

void multiply(Ctx& ctx, const Product& p) {
  ProductMemory memory = product_memory(ctx.arena, p);
  ProductKey key = key_of(p);
  if (key.rows * key.columns * key.depth == 0) return;  // a rank without samples
  ProductChoice& choice = ProductChoice::of_process();
  if (ctx.device().is_meta()) return choice.record(key);
  if (key.epilogue != Epilogue::none && choice.fuses(ctx.device().index, key)) {
    run(ctx, p, key, memory, p.d);
    if (p.left_sums) add(ctx, p.left_sums, p.left_sums, memory.row);
    return;
  }
  key.epilogue = Epilogue::none;
  Tensor product = p.pre && !p.slope ? p.pre : p.d;
  run(ctx, p, key, memory, product);
  if (p.slope)
    cuda::activation_backward(ctx, p.d, p.d, p.pre, p.activation);
  else if (p.pre || p.activation != Activation::none)
    cuda::activation(ctx, p.d, product, p.activation);
  if (p.left_sums) add_column_sums(ctx, p.left_sums, p.left, memory.sums);
}

}  // namespace viaduct::ops::cuda
