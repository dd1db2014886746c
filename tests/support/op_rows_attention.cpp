#include <cmath>

#include "core/ops/attention.hpp"
#include "tests/support/op_case.hpp"

namespace viaduct::test {
namespace {

constexpr auto kStat = Operand::Type::stat;
constexpr uint32_t kOp = 5;

struct Case {
  int64_t B, Tq, Tk, H, D;
  bool self = true, mask = false;
  float dropout = 0;
  bool lse = true;

  int64_t width() const { return H * D; }
  // Where a projection lies: which operand, its columns, and the first column of head 0.
  struct Place {
    std::string operand;
    int64_t tokens, columns, column;
  };
  Place q() const { return self ? Place{"qkv", Tq, 3 * width(), 0} : Place{"q", Tq, width(), 0}; }
  Place k() const { return self ? Place{"qkv", Tk, 3 * width(), width()} : Place{"kv", Tk, 2 * width(), 0}; }
  Place v() const { return self ? Place{"qkv", Tk, 3 * width(), 2 * width()} : Place{"kv", Tk, 2 * width(), width()}; }

  double scale() const { return 1 / std::sqrt(double(D)); }
  std::string name() const {
    return std::string(self ? "" : "cross/") + (mask ? "mask/" : "") + (dropout > 0 ? "dropout/" : "") +
           (lse ? "" : "no_lse/") + dims({B, Tq, Tk, H}) + "x" + std::to_string(D);
  }
};

Ctx context(const Ctx& ctx, const Tensors& t, const Case& c) {
  Ctx changed = ctx;
  if (c.dropout > 0) changed.training = true, changed.sample_keys = t["keys"];
  return changed;
}

ops::AttentionArgs args(const Tensors& t, const Case& c) {
  auto heads = [&](const Case::Place& p) { return ops::Heads{t[p.operand], p.column}; };
  ops::AttentionArgs a{heads(c.q()), heads(c.k()), heads(c.v()), c.H, c.D, c.scale()};
  if (c.mask) a.key_mask = t["mask"];
  a.dropout = c.dropout, a.op = kOp;
  return a;
}

ops::AttentionGrads grads(const Tensors& t, const Case& c) {
  auto heads = [&](const Case::Place& p) { return ops::Heads{t["d" + p.operand], p.column}; };
  return {heads(c.q()), heads(c.k()), heads(c.v())};
}

uint64_t sample_key(int64_t b) { return uint64_t(1234567891011 * (b + 1)); }

// All keys of sample 1 are masked, and some of the others.
bool attends(const Case& c, int64_t b, int64_t j) { return !c.mask || (b != 1 && (b + j) % 3 != 0); }

std::vector<Operand> inputs(const Case& c) {
  std::vector<Operand> operands;
  for (const Case::Place& p : {c.q(), c.k()})
    if (operands.empty() || !c.self) operands.push_back(in(p.operand, {c.B, p.tokens, p.columns}));
  if (c.mask)
    operands.push_back(in(
        "mask", {c.B, c.Tk}, [=](RandomSequence&, int64_t i) { return attends(c, i / c.Tk, i % c.Tk) ? 1.0 : 0.0; },
        Operand::Type::i32));
  if (c.dropout > 0)
    operands.push_back(in(
        "keys", {c.B}, [](RandomSequence&, int64_t i) { return double(sample_key(i)); }, Operand::Type::i64));
  return operands;
}

// The operands of one (sample, head), with names as in the paper.
template <class V>
struct Head {
  using R = real_of<V>;
  V& values;
  const Case& c;
  int64_t b, h;

  R& at(const std::string& prefix, const Case::Place& p, int64_t row, int64_t d) const {
    return values[prefix + p.operand][size_t((b * p.tokens + row) * p.columns + p.column + h * c.D + d)];
  }
  R& rows(const char* name, int64_t i, int64_t d) const {
    return values[name][size_t((b * c.Tq + i) * c.width() + h * c.D + d)];
  }
  R& lse(int64_t i) const { return values["lse"][size_t((b * c.H + h) * c.Tq + i)]; }
  R score(int64_t i, int64_t j) const {
    if (!attends(c, b, j)) return R(-INFINITY);
    R sum = 0;
    for (int64_t d = 0; d < c.D; ++d) sum += at("", c.q(), i, d) * at("", c.k(), j, d);
    return sum * R(c.scale());
  }
  R keep(int64_t i, int64_t j) const {
    if (c.dropout == 0) return 1;
    uint64_t element = uint64_t((h * c.Tq + i) * c.Tk + j);
    Philox random = philox(sample_key(b), element / 4, uint64_t(Draw::dropout) << 32 | kOp);
    return uniform(random.v[element % 4]) < c.dropout ? R(0) : R(1) / (R(1) - R(c.dropout));
  }
};

template <class V>
void naive_forward(V& values, const Case& c) {
  using R = real_of<V>;
  for (int64_t bh = 0; bh < c.B * c.H; ++bh)
    for (int64_t i = 0; i < c.Tq; ++i) {
      Head<V> head{values, c, bh / c.H, bh % c.H};
      std::vector<R> p;
      R largest = -INFINITY, sum = 0;
      for (int64_t j = 0; j < c.Tk; ++j) p.push_back(head.score(i, j)), largest = std::max(largest, p.back());
      for (R& x : p) sum += x = largest == R(-INFINITY) ? R(0) : std::exp(x - largest);
      if (c.lse) head.lse(i) = largest + std::log(sum);
      for (int64_t d = 0; d < c.D; ++d) {
        R y = 0;
        for (int64_t j = 0; j < c.Tk; ++j)
          if (p[size_t(j)] != 0) y += p[size_t(j)] / sum * head.keep(i, j) * head.at("", c.v(), j, d);
        head.rows("out", i, d) = y;
      }
    }
}

template <class V>
void naive_backward(V& values, const Case& c) {
  using R = real_of<V>;
  for (int64_t bh = 0; bh < c.B * c.H; ++bh)
    for (int64_t i = 0; i < c.Tq; ++i) {
      Head<V> head{values, c, bh / c.H, bh % c.H};
      R dot = 0;
      for (int64_t d = 0; d < c.D; ++d) dot += head.rows("dout", i, d) * head.rows("out", i, d);
      for (int64_t j = 0; j < c.Tk; ++j) {
        if (!attends(c, head.b, j)) continue;
        R p = std::exp(head.score(i, j) - head.lse(i)), keep = head.keep(i, j), dp = 0;
        for (int64_t d = 0; d < c.D; ++d) dp += head.rows("dout", i, d) * head.at("", c.v(), j, d);
        R ds = p * (keep * dp - dot) * R(c.scale());
        for (int64_t d = 0; d < c.D; ++d) {
          head.at("d", c.q(), i, d) += ds * head.at("", c.k(), j, d);
          head.at("d", c.k(), j, d) += ds * head.at("", c.q(), i, d);
          head.at("d", c.v(), j, d) += p * keep * head.rows("dout", i, d);
        }
      }
    }
}

void run_forward(Ctx& ctx, const Tensors& t, const Case& c) {
  Ctx training = context(ctx, t, c);
  ops::attention(training, t["out"], c.lse ? t["lse"] : Tensor{}, args(t, c));
}
void run_backward(Ctx& ctx, const Tensors& t, const Case& c) {
  Ctx training = context(ctx, t, c);
  ops::attention_backward(training, grads(t, c), t["dout"], t["out"], t["lse"], args(t, c));
}

OpCase forward(Case c) {
  std::vector<Operand> operands = inputs(c);
  operands.push_back(out("out", {c.B, c.Tq, c.width()}));
  if (c.lse) operands.push_back(out("lse", {c.B, c.H, c.Tq}, kStat));
  std::vector<std::string> differentiated{c.q().operand};
  if (!c.self) differentiated.push_back(c.k().operand);
  if (!c.lse) differentiated.clear();
  return {.name = "attention/" + c.name(),
          .operands = operands,
          .run = [=](Ctx& ctx, const Tensors& t) { run_forward(ctx, t, c); },
          .reference = reference([=](auto& v) { naive_forward(v, c); }),
          .gradient = {"out", differentiated, [=](Ctx& ctx, const Tensors& t) { run_backward(ctx, t, c); }},
          .flops = 4.0 * double(c.B * c.H * c.Tq * c.Tk * c.D)};
}

// The share of the recomputed scores is not counted: 4 products of the 5.
OpCase backward(Case c) {
  std::vector<Operand> operands = inputs(c);
  operands.push_back(in("out", {c.B, c.Tq, c.width()}));
  operands.push_back(in("dout", {c.B, c.Tq, c.width()}));
  operands.push_back(in("lse", {c.B, c.H, c.Tq}, normal(std::log(double(c.Tk)), 0.1), kStat));
  for (const Case::Place& p : {c.q(), c.k()})
    if (p.operand != "qkv" || p.column == 0) operands.push_back(out("d" + p.operand, {c.B, p.tokens, p.columns}));
  return {.name = "attention_backward/" + c.name(),
          .operands = operands,
          .run = [=](Ctx& ctx, const Tensors& t) { run_backward(ctx, t, c); },
          .reference = reference([=](auto& v) { naive_backward(v, c); }),
          .flops = 8.0 * double(c.B * c.H * c.Tq * c.Tk * c.D)};
}

const Case kVit{8, 197, 197, 12, 64};
const Case kFirstToken{8, 1, 197, 12, 64, false};
const Case kTextToImage{8, 50, 325, 12, 64, false};
const Case kImageToText{8, 325, 50, 12, 64, false, true};
const Case kBridgeTowerVision{4, 325, 325, 12, 64};
const Case kText{8, 50, 50, 12, 64, true, true, 0.1f};

const AddCases rows{{
    forward({4, 1, 1, 3, 16}),
    forward({2, 3, 3, 2, 16}),
    forward({1, 50, 50, 1, 80}),
    forward({2, 1, 19, 3, 64, false}),
    forward({2, 7, 33, 2, 32, false}),
    forward({3, 5, 19, 2, 20, false, true, 0, false}),
    forward({3, 5, 5, 2, 16, true, false, 0.3f}),
    forward({1, 197, 197, 1, 64}),
    backward({4, 1, 1, 3, 16}),
    backward({3, 5, 19, 2, 20, false, true}),
    backward({2, 50, 33, 2, 80, false}),
    backward({2, 9, 9, 2, 16, true, true, 0.3f}),
    backward({1, 197, 197, 1, 64}),
    measured(forward(kVit)),
    measured(backward(kVit)),
    measured(forward(kFirstToken)),
    measured(backward(kFirstToken)),
    measured(forward(kTextToImage)),
    measured(backward(kTextToImage)),
    measured(forward(kImageToText)),
    measured(backward(kImageToText)),
    measured(forward(kBridgeTowerVision)),
    measured(backward(kBridgeTowerVision)),
    measured(forward(kText)),
    measured(backward(kText)),
}};

}  // namespace
}  // namespace viaduct::test
