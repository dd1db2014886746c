// What the case table cannot say about attention: hidden samples, long sequences, padding.
#include "core/ops/attention.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/philox.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct::test {
namespace {

Tensor filled(Arena& arena, Shape shape, uint32_t seed) {
  Tensor t = arena.keep(shape, DType::f32);
  RandomSequence random(seed, Draw::init);
  for (int64_t i = 0; i < t.numel(); ++i) data<float>(t)[i] = float(random.uniform(-1, 1));
  return t;
}

Tensor mask(Arena& arena, int64_t batch, int64_t keys, auto attends) {
  Tensor t = arena.keep({batch, keys}, DType::i32);
  for (int64_t i = 0; i < t.numel(); ++i) data<int32_t>(t)[i] = attends(i / keys, i % keys) ? 1 : 0;
  return t;
}

ops::AttentionArgs self_attention(Tensor qkv, int64_t heads, int64_t head_dim) {
  int64_t width = heads * head_dim;
  return {.q = {qkv, 0}, .k = {qkv, width}, .v = {qkv, 2 * width}, .heads = heads, .head_dim = head_dim};
}

TEST(Attention, AQueryWithoutKeysGetsZerosAndGivesNoGradient) {
  TestCtx ctx(DType::f32);
  int64_t B = 2, T = 5, H = 2, D = 16;
  Tensor qkv = filled(ctx.arena, {B, T, 3 * H * D}, 1), dqkv = filled(ctx.arena, {B, T, 3 * H * D}, 2);
  Tensor out = filled(ctx.arena, {B, T, H * D}, 3), dout = filled(ctx.arena, {B, T, H * D}, 4);
  Tensor lse = ctx.arena.keep({B, H, T}, DType::f32);
  ops::AttentionArgs args = self_attention(qkv, H, D);
  args.key_mask = mask(ctx.arena, B, T, [](int64_t b, int64_t) { return b == 1; });
  ops::attention(ctx, out, lse, args);
  ops::attention_backward(ctx, {{dqkv, 0}, {dqkv, H * D}, {dqkv, 2 * H * D}}, dout, out, lse, args);
  for (int64_t i = 0; i < T * H * D; ++i) ASSERT_EQ(data<float>(out)[i], 0);
  for (int64_t i = 0; i < T * 3 * H * D; ++i) ASSERT_EQ(data<float>(dqkv)[i], 0);
  for (int64_t i = 0; i < H * T; ++i) ASSERT_EQ(data<float>(lse)[i], -INFINITY);
  for (int64_t i = 0; i < T * 3 * H * D; ++i) ASSERT_TRUE(std::isfinite(data<float>(dqkv)[T * 3 * H * D + i]));
}

// Keys that are masked away make no difference: the same sequence, shorter, gives the same bits. Gradients are summed over
// blocks of queries, whose cut depends on how many there are.
TEST(Attention, MaskedPaddingIsAsIfItWereNotThere) {
  TestCtx ctx(DType::f32);
  int64_t T = 300, kept = 283, H = 1, D = 32, C = 3 * H * D;  // several blocks of queries, and a rest
  Tensor longer = filled(ctx.arena, {1, T, C}, 1), shorter = ctx.arena.keep({1, kept, C}, DType::f32);
  std::copy(data<float>(longer), data<float>(longer) + kept * C, data<float>(shorter));
  for (int64_t i = kept * C; i < T * C; ++i) data<float>(longer)[i] = 100;
  auto run = [&](Tensor qkv, int64_t rows, Tensor key_mask) {
    Tensor out = ctx.arena.keep({1, rows, H * D}, DType::f32), lse = ctx.arena.keep({1, H, rows}, DType::f32);
    Tensor dout = ctx.arena.keep({1, rows, H * D}, DType::f32), dqkv = ctx.arena.keep({1, rows, C}, DType::f32);
    RandomSequence random(9, Draw::init);
    for (int64_t i = 0; i < rows * H * D; ++i)
      data<float>(dout)[i] = i < kept * H * D ? float(random.uniform(-1, 1)) : 0.0f;
    ops::AttentionArgs args = self_attention(qkv, H, D);
    args.key_mask = key_mask;
    ops::attention(ctx, out, lse, args);
    ops::attention_backward(ctx, {{dqkv, 0}, {dqkv, H * D}, {dqkv, 2 * H * D}}, dout, out, lse, args);
    return std::pair(out, dqkv);
  };
  auto [out_a, d_a] = run(longer, T, mask(ctx.arena, 1, T, [&](int64_t, int64_t j) { return j < kept; }));
  auto [out_b, d_b] = run(shorter, kept, {});
  for (int64_t i = 0; i < kept * H * D; ++i) ASSERT_EQ(data<float>(out_a)[i], data<float>(out_b)[i]);
  for (int64_t i = 0; i < kept * C; ++i) ASSERT_NEAR(data<float>(d_a)[i], data<float>(d_b)[i], 1e-5);
  for (int64_t i = kept * C; i < T * C; ++i) ASSERT_EQ(data<float>(d_a)[i], 0);
}

// A sample among others, longer ones too, has the bits that it has alone, at every length.
TEST(Attention, ASampleIsAFunctionOfItselfAlone) {
  TestCtx ctx(DType::f32);
  const int64_t T = 60, H = 2, D = 24, C = 3 * H * D, B = T;
  Tensor qkv = filled(ctx.arena, {B, T, C}, 1), out = ctx.arena.keep({B, T, H * D}, DType::f32);
  ops::AttentionArgs args = self_attention(qkv, H, D);
  args.key_mask = mask(ctx.arena, B, T, [](int64_t b, int64_t j) { return j <= b; });
  ops::attention(ctx, out, {}, args);
  for (int64_t b = 0; b < B; ++b) {
    const int64_t length = b + 1;
    Tensor alone = ctx.arena.keep({1, length, H * D}, DType::f32), rows = ctx.arena.keep({1, length, C}, DType::f32);
    std::copy_n(data<float>(qkv) + b * T * C, length * C, data<float>(rows));
    ops::attention(ctx, alone, {}, self_attention(rows, H, D));
    for (int64_t i = 0; i < alone.numel(); ++i)
      ASSERT_EQ(data<float>(alone)[i], data<float>(out)[b * T * H * D + i]) << length << " tokens, element " << i;
  }
}

TEST(Attention, LargeScoresDoNotOverflow) {
  TestCtx ctx(DType::f32);
  int64_t T = 20, D = 16;
  Tensor qkv = filled(ctx.arena, {1, T, 3 * D}, 1), out = ctx.arena.keep({1, T, D}, DType::f32);
  for (int64_t i = 0; i < qkv.numel(); ++i) data<float>(qkv)[i] *= 1000;
  Tensor lse = ctx.arena.keep({1, 1, T}, DType::f32);
  ops::attention(ctx, out, lse, self_attention(qkv, 1, D));
  for (int64_t i = 0; i < out.numel(); ++i) {
    ASSERT_TRUE(std::isfinite(data<float>(out)[i]));
    ASSERT_LE(std::abs(data<float>(out)[i]), 1000);  // a mean of values
  }
}

TEST(Attention, DropoutIsOfTrainingOnly) {
  TestCtx ctx(DType::f32);
  Tensor qkv = filled(ctx.arena, {1, 9, 3 * 16}, 1), plain = ctx.arena.keep({1, 9, 16}, DType::f32);
  Tensor dropped = ctx.arena.keep({1, 9, 16}, DType::f32);
  ops::AttentionArgs args = self_attention(qkv, 1, 16);
  ops::attention(ctx, plain, {}, args);
  args.dropout = 0.5f;
  ops::attention(ctx, dropped, {}, args);
  for (int64_t i = 0; i < plain.numel(); ++i) ASSERT_EQ(data<float>(plain)[i], data<float>(dropped)[i]);
}

// Bytes of working memory that a pass over T tokens asks for.
int64_t scratch_of(int64_t T, bool backward) {
  TestCtx ctx(DType::f32, Device::meta());
  Tensor qkv = ctx.arena.keep({1, T, 3 * 16}, DType::f32), out = ctx.arena.keep({1, T, 16}, DType::f32);
  Tensor lse = ctx.arena.keep({1, 1, T}, DType::f32);
  int64_t before = ctx.arena.peak().bytes;
  if (backward)
    ops::attention_backward(ctx, {{qkv, 0}, {qkv, 16}, {qkv, 32}}, out, out, lse, self_attention(qkv, 1, 16));
  else
    ops::attention(ctx, out, lse, self_attention(qkv, 1, 16));
  return ctx.arena.peak().bytes - before;
}

// Or a plan for the longest text would not hold a shorter one.
TEST(Attention, WorkingMemoryNeverShrinksWithTheNumberOfTokens) {
  for (bool backward : {false, true})
    for (int64_t T = 2; T <= 640; ++T)
      ASSERT_GE(scratch_of(T, backward), scratch_of(T - 1, backward)) << T << " tokens, backward " << backward;
}

TEST(Attention, ABatchWithoutSamplesIsNoError) {
  TestCtx ctx(DType::f32);
  Tensor qkv = ctx.arena.keep({0, 9, 3 * 16}, DType::f32), out = ctx.arena.keep({0, 9, 16}, DType::f32);
  ops::attention(ctx, out, {}, self_attention(qkv, 1, 16));
}

TEST(Attention, HeadsBeyondTheColumnsAreRefused) {
  TestCtx ctx(DType::f32);
  Tensor qkv = ctx.arena.keep({1, 4, 3 * 32}, DType::f32), out = ctx.arena.keep({1, 4, 32}, DType::f32);
  ops::AttentionArgs args = self_attention(qkv, 2, 16);
  args.v.column += 16;
  EXPECT_THROW(ops::attention(ctx, out, {}, args), Error);
}

}  // namespace
}  // namespace viaduct::test
