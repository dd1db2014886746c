// Attention alone, forward and backward, for sequences of several lengths.
#include <cmath>
#include <sstream>

#include "app/bench_ops.hpp"
#include "core/ops/attention.hpp"

namespace viaduct::app {
namespace {

using Tensors = std::vector<Tensor>;
constexpr int64_t kHeadDim = 64;

struct Sizes {
  int64_t batch, tokens, heads;
  DType dtype;

  int64_t width() const { return heads * kHeadDim; }
  std::string text() const { return fmt::format("{}x{}x{}x{}", batch, tokens, heads, kHeadDim); }
  // Of `products` matrix products of tokens x tokens x head dimension each.
  double flops(int products) const {
    return 2.0 * products * double(batch * heads) * double(tokens) * double(tokens) * double(kHeadDim);
  }
  OpOperand packed() const { return {{batch, tokens, 3 * width()}, dtype}; }
  OpOperand rows() const { return {{batch, tokens, width()}, dtype}; }
  OpOperand lse() const {  // what random queries and keys give
    return {{batch, heads, tokens}, DType::f32, false, std::log(double(tokens)), std::log(double(tokens))};
  }
};

ops::AttentionArgs args(const Tensor& qkv, const Sizes& s) {
  return {{qkv, 0}, {qkv, s.width()}, {qkv, 2 * s.width()}, s.heads, kHeadDim, 1 / std::sqrt(double(kHeadDim))};
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

std::vector<int64_t> numbers(const Config& config, const std::string& key, const std::string& text) {
  std::vector<int64_t> found;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    size_t used = 0;
    int64_t n = 0;
    try {
      n = std::stoll(part, &used);
    } catch (const std::logic_error&) {
    }
    if (n < 1 || n > 1'000'000 || part.find_first_not_of(' ', used) != std::string::npos)
      fail_config(fmt::format("{} = '{}' ({}): expected whole numbers from 1 to 1000000 with commas between them", key,
                              text, config.origin(key)));
    found.push_back(n);
  }
  return found;
}

}  // namespace

BenchResult bench_attention(const Invocation& call) {
  const Config& config = call.config;
  std::vector<MeasuredOp> ops;
  for (int64_t heads : numbers(config, "bench.heads", config.bench.heads))
    for (int64_t tokens : numbers(config, "bench.tokens", config.bench.tokens)) {
      const Sizes s{op_batch_size(config), tokens, heads, op_dtype(config)};
      ops.push_back(forward(s)), ops.push_back(backward(s));
    }
  return bench_ops(call, ops);
}

}  // namespace viaduct::app
