#include <cmath>

#include "core/ops/contrastive.hpp"
#include "tests/support/op_case.hpp"

namespace viaduct::test {
namespace {

constexpr auto kStat = Operand::Type::stat;
constexpr double kSmallestNorm = 1e-12;

template <class R>
R norm_of(const std::vector<R>& x, int64_t row, int64_t C) {
  R sum = 0;
  for (int64_t i = row * C; i < (row + 1) * C; ++i) sum += x[size_t(i)] * x[size_t(i)];
  return std::sqrt(sum);
}

OpCase normalize(int64_t R, int64_t C, double size) {
  return {.name = "l2_normalize/" + dims({R, C}) + (size < 1 ? "/tiny" : ""),
          .operands = {in("x", {R, C}, normal(0, size)), out("y", {R, C})},
          .run = [](Ctx& ctx, const Tensors& t) { ops::l2_normalize(ctx, t["y"], t["x"]); },
          .reference = reference([=](auto& v) {
            using Real = real_of<decltype(v)>;
            for (int64_t i = 0; i < R * C; ++i)
              v["y"][size_t(i)] = v["x"][size_t(i)] / std::max(norm_of(v["x"], i / C, C), Real(kSmallestNorm));
          }),
          .gradient = {"y", size < 1 ? std::vector<std::string>{} : std::vector<std::string>{"x"},
                       [](Ctx& ctx, const Tensors& t) { ops::l2_normalize_backward(ctx, t["dx"], t["dy"], t["x"]); }},
          .aliases = {{"y", "x"}}};
}

OpCase normalize_backward(int64_t R, int64_t C, double size) {
  return {.name = "l2_normalize_backward/" + dims({R, C}) + (size < 1 ? "/tiny" : ""),
          .operands = {in("x", {R, C}, normal(0, size)), in("dy", {R, C}), out("dx", {R, C})},
          .run = [](Ctx& ctx, const Tensors& t) { ops::l2_normalize_backward(ctx, t["dx"], t["dy"], t["x"]); },
          .reference = reference([=](auto& v) {
            using Real = real_of<decltype(v)>;
            for (int64_t r = 0; r < R; ++r) {
              Real norm = norm_of(v["x"], r, C), along = 0;
              for (int64_t i = r * C; i < (r + 1) * C; ++i) along += v["x"][size_t(i)] / norm * v["dy"][size_t(i)];
              if (norm < Real(kSmallestNorm)) norm = Real(kSmallestNorm), along = 0;
              for (int64_t i = r * C; i < (r + 1) * C; ++i)
                v["dx"][size_t(i)] = (v["dy"][size_t(i)] - along * v["x"][size_t(i)] / norm) / norm;
            }
          }),
          .aliases = {{"dx", "dy"}}};
}

enum class Wants { all, loss, keys_frozen, scale_only };

struct Case {
  int64_t R, N, C, first;
  Wants wants = Wants::all;
  bool dq() const { return wants == Wants::all || wants == Wants::keys_frozen; }
  bool dk() const { return wants == Wants::all; }
  bool dscale() const { return wants != Wants::loss; }
  std::string name() const {
    const char* variant[] = {"", "loss_only/", "no_dk/", "scale_only/"};
    return std::string("contrastive/") + variant[int(wants)] + dims({R, N, C}) + "/" + std::to_string(first);
  }
};
constexpr double kWeight = 1.0 / 3;

void run(Ctx& ctx, const Tensors& t, const Case& c) {
  ops::contrastive(ctx, t["losses"],
                   {c.dq() ? t["gq"] : Tensor{}, c.dk() ? t["gk"] : Tensor{}, c.dscale() ? t["gscale"] : Tensor{}},
                   {.q = t["q"], .k = t["k"], .log_scale = t["scale"], .first = c.first, .weight = kWeight});
}

template <class V>
void naive(V& v, const Case& c) {
  using R = real_of<V>;
  R scale = std::exp(v["scale"][0]);
  for (int64_t r = 0; r < c.R; ++r) {
    std::vector<R> logits, p;
    R largest = -INFINITY, sum = 0;
    for (int64_t n = 0; n < c.N; ++n) {
      R product = 0;
      for (int64_t i = 0; i < c.C; ++i) product += v["q"][size_t(r * c.C + i)] * v["k"][size_t(n * c.C + i)];
      logits.push_back(scale * product);
      largest = std::max(largest, logits.back());
    }
    for (R l : logits) p.push_back(std::exp(l - largest)), sum += p.back();
    v["losses"][size_t(r)] = R(kWeight) * (std::log(sum) + largest - logits[size_t(c.first + r)]);
    for (int64_t n = 0; n < c.N; ++n) {
      R g = R(kWeight) * (p[size_t(n)] / sum - R(n == c.first + r));
      for (int64_t i = 0; i < c.C; ++i) {
        R q = v["q"][size_t(r * c.C + i)], k = v["k"][size_t(n * c.C + i)];
        if (c.dq()) v["gq"][size_t(r * c.C + i)] += scale * g * k;
        if (c.dk()) v["gk"][size_t(n * c.C + i)] += scale * g * q;
        if (c.dscale()) v["gscale"][0] += scale * g * q * k;
      }
    }
  }
}

// The op gives its gradients in the forward pass. With `fresh` ones they start from zero, so that they are the slopes.
OpCase contrastive(Case c, bool fresh = false) {
  Fill vectors = normal(0, 1 / std::sqrt(double(c.C))), start = fresh ? constant(0) : normal();
  std::vector<Operand> operands{in("q", {c.R, c.C}, vectors), in("k", {c.N, c.C}, vectors),
                                in("scale", {1}, constant(2.625)), out("losses", {c.R}, kStat)};
  if (c.dq()) operands.push_back(inout("gq", {c.R, c.C}, Operand::Type::value, start));
  if (c.dk()) operands.push_back(inout("gk", {c.N, c.C}, Operand::Type::value, start));
  if (c.dscale()) operands.push_back(inout("gscale", {1}, kStat, start));
  return {.name = c.name() + (fresh ? "/slopes" : ""),
          .operands = operands,
          .run = [=](Ctx& ctx, const Tensors& t) { run(ctx, t, c); },
          .reference = reference([=](auto& v) { naive(v, c); }),
          .gradient = {"losses", fresh ? std::vector<std::string>{"q", "k", "scale"} : std::vector<std::string>{},
                       [](Ctx&, const Tensors& t) {
                         for (std::string name : {"q", "k", "scale"})
                           std::copy_n(data<double>(t["g" + name]), t["g" + name].numel(), data<double>(t["d" + name]));
                       },
                       constant(1)},
          .flops = 6.0 * double(c.R * c.N * c.C)};
}

const AddCases rows{{
    normalize(5, 37, 1),
    normalize(40, 512, 1),
    normalize(3, 8, 1e-14),
    normalize_backward(5, 37, 1),
    normalize_backward(3, 8, 1e-14),
    contrastive({40, 40, 20, 0}),
    contrastive({40, 40, 20, 0}, true),
    contrastive({33, 50, 24, 6}),
    contrastive({33, 50, 24, 6}, true),
    contrastive({60, 70, 64, 10}),
    contrastive({0, 9, 16, 3}),
    contrastive({1, 1, 16, 0}),
    contrastive({33, 50, 24, 6, Wants::loss}),
    contrastive({33, 50, 24, 6, Wants::keys_frozen}),
    contrastive({33, 50, 24, 6, Wants::scale_only}),
    measured(contrastive({64, 512, 512, 0})),
}};

}  // namespace
}  // namespace viaduct::test
