#include "core/ops/patch.hpp"

#include "core/ops/cpu/patch.hpp"
#include "core/ops/cuda/patch.hpp"
#include "core/ops/dispatch.hpp"
#include "core/ops/operand_check.hpp"

namespace viaduct::ops {

void patchify(Ctx& ctx, Tensor patches, Tensor pixels, int64_t patch, const Normalization& normalization) {
  OperandCheck check{ctx, "patchify"};
  check.that(pixels.shape.rank == 4 && pixels.shape[3] == 3 && pixels.dtype == DType::u8,
             "pixels are uint8 [B, H, W, 3]", pixels);
  int64_t across = pixels.shape[2] / patch, down = pixels.shape[1] / patch;
  check("patches", patches, {pixels.shape[0], down * across, 3 * patch * patch}, patches.dtype);
  run_on_device(
      ctx, [&] { cpu::patchify(patches, pixels, patch, normalization); },
      [&] { cuda::patchify(ctx, patches, pixels, patch, normalization); });
}

void assemble_tokens(Ctx& ctx, Tensor tokens, Tensor patches, Tensor cls, Tensor positions) {
  OperandCheck check{ctx, "assemble_tokens"};
  check.that(patches.shape.rank == 3, "patches are [B, G, C]", patches);
  int64_t B = patches.shape[0], C = patches.shape[2], K = cls.numel() / C, T = K + patches.shape[1];
  check.that(K > 0 && K * C == cls.numel(), "cls is [K, C]", cls);
  check("tokens", tokens, {B, T, C}, patches.dtype);
  check("cls", cls, cls.shape, patches.dtype);
  check("positions", positions.reshape({positions.numel()}), {T * C}, patches.dtype);
  run_on_device(
      ctx, [&] { cpu::assemble_tokens(tokens, patches, cls, positions); },
      [&] { cuda::assemble_tokens(ctx, tokens, patches, cls, positions); });
}

void assemble_tokens_backward(Ctx& ctx, Tensor dpatches, Tensor dcls, Tensor dpositions, Tensor dtokens) {
  OperandCheck check{ctx, "assemble_tokens_backward"};
  check.that(dtokens.shape.rank == 3, "dtokens are [B, 1 + G, C]", dtokens);
  int64_t B = dtokens.shape[0], T = dtokens.shape[1], C = dtokens.shape[2];
  const int64_t K = dpatches ? T - dpatches.shape[1] : dcls ? dcls.numel() / C : 1;
  check.that(K > 0 && K < T, "dcls is [K, C]", dtokens);
  if (dpatches) check("dpatches", dpatches, {B, T - K, C}, dtokens.dtype);
  if (dcls) check("dcls", dcls.reshape({dcls.numel()}), {K * C}, stat_dtype(dtokens.dtype));
  if (dpositions) check("dpositions", dpositions.reshape({dpositions.numel()}), {T * C}, stat_dtype(dtokens.dtype));
  run_on_device(
      ctx, [&] { cpu::assemble_tokens_backward(dpatches, dcls, dpositions, dtokens); },
      [&] { cuda::assemble_tokens_backward(ctx, dpatches, dcls, dpositions, dtokens); });
}

void select_token(Ctx& ctx, Tensor y, Tensor x, int64_t index) {
  OperandCheck check{ctx, "select_token"};
  check.that(x.shape.rank == 3 && index >= 0 && index < x.shape[1], "x is [B, T, C] with the token in it", x);
  check("y", y.reshape({y.numel()}), {x.shape[0] * x.shape[2]}, x.dtype);
  run_on_device(
      ctx, [&] { cpu::select_token(y, x, index); }, [&] { cuda::select_token(ctx, y, x, index); });
}

void select_token_backward(Ctx& ctx, Tensor dx, Tensor dy, int64_t index) {
  OperandCheck check{ctx, "select_token_backward"};
  check.that(dx.shape.rank == 3 && index >= 0 && index < dx.shape[1], "dx is [B, T, C] with the token in it", dx);
  check("dy", dy.reshape({dy.numel()}), {dx.shape[0] * dx.shape[2]}, dx.dtype);
  run_on_device(
      ctx, [&] { cpu::select_token_backward(dx, dy, index); },
      [&] { cuda::select_token_backward(ctx, dx, dy, index); });
}

}  // namespace viaduct::ops
