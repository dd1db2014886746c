#include <algorithm>
#include <cmath>

#include "core/ops/loss.hpp"
#include "tests/support/op_case.hpp"

namespace viaduct::test {
namespace {

// Every third row is ignored.
Fill labels(int64_t classes) {
  return
      [=](RandomSequence& random, int64_t i) { return i % 3 == 1 ? -100.0 : double(random.below(uint64_t(classes))); };
}

// exp(x - largest) of row b and its sum.
template <class R>
std::pair<std::vector<R>, R> exponentials(const std::vector<R>& logits, int64_t b, int64_t classes) {
  auto row = logits.begin() + b * classes;
  R largest = *std::max_element(row, row + classes), sum = 0;
  std::vector<R> e;
  for (int64_t c = 0; c < classes; ++c) e.push_back(std::exp(row[c] - largest)), sum += e.back();
  return {e, sum};
}

// Logits with a spread of 4, and `shift` added to show that the largest is subtracted.
OpCase cross_entropy(int64_t B, int64_t C, double shift, bool with_gradient, double weight = 1) {
  std::vector<Operand> operands{in("logits", {B, C}, normal(shift, 4)),
                                in("labels", {B}, labels(C), Operand::Type::i32),
                                out("losses", {B}, Operand::Type::stat)};
  if (with_gradient) operands.push_back(out("gradient", {B, C}));
  return {.name = "cross_entropy/" + std::string(with_gradient ? "" : "loss_only/") + (weight == 1 ? "" : "weighted/") +
                  dims({B, C}),
          .operands = operands,
          .run =
              [=](Ctx& ctx, const Tensors& t) {
                ops::cross_entropy(ctx, t["losses"], with_gradient ? t["gradient"] : Tensor{}, t["logits"], t["labels"],
                                   weight);
              },
          .reference = reference([=](auto& v) {
            for (int64_t b = 0; b < B; ++b) {
              int64_t label = int64_t(v["labels"][size_t(b)]);
              if (label < 0) continue;
              auto [e, sum] = exponentials(v["logits"], b, C);
              v["losses"][size_t(b)] = weight * (std::log(sum) - std::log(e[size_t(label)]));
              if (!with_gradient) continue;
              for (int64_t c = 0; c < C; ++c)
                v["gradient"][size_t(b * C + c)] = weight * (e[size_t(c)] / sum - (c == label));
            }
          }),
          // The op gives the gradient of the sum in the forward pass; here it is only handed over.
          .gradient = {"losses", with_gradient ? std::vector<std::string>{"logits"} : std::vector<std::string>{},
                       [](Ctx&, const Tensors& t) {
                         std::copy_n(data<double>(t["gradient"]), t["gradient"].numel(), data<double>(t["dlogits"]));
                       },
                       constant(1)},
          .aliases = with_gradient ? std::vector<std::pair<std::string, std::string>>{{"gradient", "logits"}}
                                   : std::vector<std::pair<std::string, std::string>>{}};
}

// Dense targets, as timm's mixup_target with one share a row writes them, and its SoftTargetCrossEntropy.
OpCase soft_cross_entropy(int64_t B, int64_t C, double smoothing, bool mixed, bool with_gradient) {
  auto any_label = [=](RandomSequence& random, int64_t) { return double(random.below(uint64_t(C))); };
  auto share = [](RandomSequence& random, int64_t i) { return i % 4 == 0 ? 1 : float(random.uniform()); };
  std::vector<Operand> operands{in("logits", {B, C}, normal(50, 4)), in("labels", {B}, any_label, Operand::Type::i32),
                                out("losses", {B}, Operand::Type::stat)};
  if (mixed) {
    operands.push_back(in("others", {B}, any_label, Operand::Type::i32));
    operands.push_back(in("shares", {B}, share, Operand::Type::stat));
  }
  if (with_gradient) operands.push_back(out("gradient", {B, C}));
  return {.name = "soft_cross_entropy/" + std::string(with_gradient ? "" : "loss_only/") + (mixed ? "mixed/" : "") +
                  (smoothing > 0 ? "smooth/" : "") + dims({B, C}),
          .operands = operands,
          .run =
              [=](Ctx& ctx, const Tensors& t) {
                ops::soft_cross_entropy(
                    ctx, t["losses"], with_gradient ? t["gradient"] : Tensor{}, t["logits"],
                    {t["labels"], mixed ? t["others"] : Tensor{}, mixed ? t["shares"] : Tensor{}, smoothing});
              },
          .reference = reference([=](auto& v) {
            using R = real_of<decltype(v)>;
            for (int64_t b = 0; b < B; ++b) {
              auto [e, sum] = exponentials(v["logits"], b, C);
              const R share = mixed ? v["shares"][size_t(b)] : R(1);
              const int64_t label = int64_t(v["labels"][size_t(b)]),
                            other = mixed ? int64_t(v["others"][size_t(b)]) : label;
              const R off = R(smoothing) / R(C), on = 1 - R(smoothing) + off;
              for (int64_t c = 0; c < C; ++c) {
                const R target = (c == label ? on : off) * share + (c == other ? on : off) * (1 - share);
                v["losses"][size_t(b)] += target * (std::log(sum) - std::log(e[size_t(c)]));
                if (with_gradient) v["gradient"][size_t(b * C + c)] = e[size_t(c)] / sum - target;
              }
            }
          }),
          .gradient = {"losses", with_gradient ? std::vector<std::string>{"logits"} : std::vector<std::string>{},
                       [](Ctx&, const Tensors& t) {
                         std::copy_n(data<double>(t["gradient"]), t["gradient"].numel(), data<double>(t["dlogits"]));
                       },
                       constant(1)},
          .aliases = with_gradient ? std::vector<std::pair<std::string, std::string>>{{"gradient", "logits"}}
                                   : std::vector<std::pair<std::string, std::string>>{}};
}

OpCase softmax(int64_t B, int64_t C) {
  return {.name = "softmax/" + dims({B, C}),
          .operands = {in("logits", {B, C}, normal(200, 4)), out("probabilities", {B, C}, Operand::Type::stat)},
          .run = [](Ctx& ctx, const Tensors& t) { ops::softmax(ctx, t["probabilities"], t["logits"]); },
          .reference = reference([=](auto& v) {
            for (int64_t b = 0; b < B; ++b) {
              auto [e, sum] = exponentials(v["logits"], b, C);
              for (int64_t c = 0; c < C; ++c) v["probabilities"][size_t(b * C + c)] = e[size_t(c)] / sum;
            }
          })};
}

const AddCases rows{{
    cross_entropy(7, 10, 0, true),
    cross_entropy(7, 1003, 300, true),
    cross_entropy(40, 2, 0, true),
    cross_entropy(4, 9005, 100, true),
    cross_entropy(5, 37, 0, false),
    cross_entropy(7, 10, 0, true, 0.3),
    soft_cross_entropy(9, 10, 0.1, true, true),
    soft_cross_entropy(9, 3, 0, true, true),
    soft_cross_entropy(7, 1003, 0.1, false, true),
    soft_cross_entropy(4, 9005, 0.2, true, true),
    soft_cross_entropy(5, 37, 0.1, true, false),
    softmax(7, 37),
    softmax(3, 1000),
    softmax(2, 4100),
    measured(cross_entropy(64, 1000, 0, true)),
    measured(soft_cross_entropy(64, 1000, 0.1, true, true)),
    measured(cross_entropy(256, 50265, 0, true)),
}};

}  // namespace
}  // namespace viaduct::test
