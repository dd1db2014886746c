// Attention alone, forward and backward: of the ViT that [model] describes, or of the lengths that models have.
#include <algorithm>
#include <cmath>

#include "app/bench_ops.hpp"
#include "core/ops/attention.hpp"

namespace viaduct::app {
namespace {

using Tensors = std::vector<Tensor>;
// Those of ViT-B and -L, and of BridgeTower: a text, 224 x 224 pixels, 294 x 294 in patches of 14, 384 x 384.
constexpr int64_t kTokens[] = {50, 197, 442, 577}, kHeads[] = {12, 16}, kHeadDim = 64;

struct Sizes {
  int64_t batch, tokens, heads, head_dim;
  DType dtype;

  int64_t width() const { return heads * head_dim; }
  std::string text() const { return fmt::format("{}x{}x{}x{}", batch, tokens, heads, head_dim); }
  // Of `products` matrix products of tokens x tokens x head dimension each.
  double flops(int products) const {
    return 2.0 * products * double(batch * heads) * double(tokens) * double(tokens) * double(head_dim);
  }
  OpOperand packed() const { return {{batch, tokens, 3 * width()}, dtype}; }
  OpOperand rows() const { return {{batch, tokens, width()}, dtype}; }
  OpOperand lse() const {  // what random queries and keys give
    return {{batch, heads, tokens}, DType::f32, false, std::log(double(tokens)), std::log(double(tokens))};
  }
};

ops::AttentionArgs args(const Tensor& qkv, const Sizes& s) {
  return {{qkv, 0}, {qkv, s.width()}, {qkv, 2 * s.width()}, s.heads, s.head_dim, 1 / std::sqrt(double(s.head_dim))};
}

MeasuredOp forward(const Sizes& s) {
  return {"attention",
          s.text(),
          {s.packed(), s.rows(), s.lse()},
          [s](Ctx& ctx, const Tensors& t) { ops::attention(ctx, t[1], t[2], args(t[0], s)); },
          s.flops(2)};
}

// Four products; that the scores are computed again is not counted.
MeasuredOp backward(const Sizes& s) {
  return {"attention_backward",
          s.text(),
          {s.packed(), s.rows(), s.rows(), s.lse(), s.packed()},
          [s](Ctx& ctx, const Tensors& t) {
            const ops::AttentionGrads grads{{t[4], 0}, {t[4], s.width()}, {t[4], 2 * s.width()}};
            ops::attention_backward(ctx, grads, t[1], t[2], t[3], args(t[0], s));
          },
          s.flops(4)};
}

bool gives_model(const Config& config) {
  return std::any_of(config.origins.begin(), config.origins.end(),
                     [](const auto& origin) { return origin.first.starts_with("model."); });
}

}  // namespace

BenchResult bench_attention(const Invocation& call) {
  const Config& config = call.config;
  const int64_t batch = op_batch_size(config);
  const DType dtype = op_dtype(config);
  std::vector<MeasuredOp> ops;
  auto measure = [&](const Sizes& s) { ops.push_back(forward(s)), ops.push_back(backward(s)); };
  if (gives_model(config)) {
    const VitConfig vit = vit_shape(call).config;
    measure({batch, vit.tokens(), vit.num_attention_heads, vit.hidden_size / vit.num_attention_heads, dtype});
  } else {
    for (int64_t heads : kHeads)
      for (int64_t tokens : kTokens) measure({batch, tokens, heads, kHeadDim, dtype});
  }
  return bench_ops(call, ops);
}

}  // namespace viaduct::app
