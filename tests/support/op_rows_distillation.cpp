#include <algorithm>
#include <cmath>

#include "core/ops/distillation.hpp"
#include "core/ops/elementwise.hpp"
#include "tests/support/op_case.hpp"

namespace viaduct::test {
namespace {

constexpr auto kStat = Operand::Type::stat;

// log softmax of row b of x / temperature.
template <class R>
std::vector<R> log_softmax(const std::vector<R>& x, int64_t b, int64_t classes, R temperature) {
  std::vector<R> row;
  R largest = -INFINITY, sum = 0;
  for (int64_t c = 0; c < classes; ++c)
    row.push_back(x[size_t(b * classes + c)] / temperature), largest = std::max(largest, row.back());
  for (R& r : row) r -= largest, sum += std::exp(r);
  for (R& r : row) r -= std::log(sum);
  return row;
}

// A loss that is added to what is there, and its gradient likewise. `fresh`: both begin as zeros in every run, so that
// the gradient is the slope.
struct Added {
  std::vector<Operand> operands;
  Run run;
  Gradient gradient;

  Added(std::vector<Operand> inputs, const std::string& student, Shape shape, bool fresh, bool with_gradient, Run op)
      : operands(std::move(inputs)) {
    operands.push_back(fresh ? out("losses", {shape[0]}, kStat) : inout("losses", {shape[0]}, kStat));
    if (with_gradient) operands.push_back(fresh ? out("added", shape) : inout("added", shape));
    run = [=](Ctx& ctx, const Tensors& t) {
      if (fresh) ops::fill(ctx, t["losses"], 0), ops::fill(ctx, t["added"], 0);
      op(ctx, t);
    };
    if (fresh)
      gradient = {"losses",
                  {student},
                  [student](Ctx&, const Tensors& t) {
                    std::copy_n(data<double>(t["added"]), t["added"].numel(), data<double>(t["d" + student]));
                  },
                  constant(1)};
  }
};

std::string variant(bool fresh, bool with_gradient) {
  return std::string(fresh ? "slope/" : "") + (with_gradient ? "" : "loss_only/");
}

// Logits with a spread of 4; `shift` shows that the largest is subtracted.
OpCase kl(int64_t B, int64_t C, double temperature, double shift = 0, bool fresh = false, bool with_gradient = true) {
  const double weight = 0.7;
  Added added({in("logits", {B, C}, normal(shift, 4)), in("teacher", {B, C}, normal(-shift, 4))}, "logits", {B, C},
              fresh, with_gradient, [=](Ctx& ctx, const Tensors& t) {
                ops::distillation_kl(ctx, t["losses"], with_gradient ? t["added"] : Tensor{}, t["logits"], t["teacher"],
                                     {.temperature = temperature, .weight = weight});
              });
  return {.name = fmt::format("distillation_kl/{}{}/at{}", variant(fresh, with_gradient), dims({B, C}), temperature),
          .operands = added.operands,
          .run = added.run,
          .reference = reference([=](auto& v) {
            using R = real_of<decltype(v)>;
            for (int64_t b = 0; b < B; ++b) {
              auto q = log_softmax(v["logits"], b, C, R(temperature)),
                   p = log_softmax(v["teacher"], b, C, R(temperature));
              R sum = 0;
              for (size_t c = 0; c < q.size(); ++c) {
                sum += std::exp(p[c]) * (p[c] - q[c]);
                if (with_gradient)
                  v["added"][size_t(b * C) + c] += R(weight / temperature) * (std::exp(q[c]) - std::exp(p[c]));
              }
              v["losses"][size_t(b)] += R(weight) * sum;
            }
          }),
          .gradient = added.gradient};
}

OpCase squared(Shape shape, bool fresh = false, bool with_gradient = true) {
  const int64_t B = shape[0], N = shape.numel() / B;
  const double weight = 0.3;
  Added added({in("x", shape), in("target", shape)}, "x", shape, fresh, with_gradient, [=](Ctx& ctx, const Tensors& t) {
    ops::squared_error(ctx, t["losses"], with_gradient ? t["added"] : Tensor{}, t["x"], t["target"], weight);
  });
  return {.name = "squared_error/" + variant(fresh, with_gradient) + dims(shape),
          .operands = added.operands,
          .run = added.run,
          .reference = reference([=](auto& v) {
            using R = real_of<decltype(v)>;
            for (int64_t b = 0; b < B; ++b) {
              R sum = 0;
              for (size_t i = size_t(b * N); i < size_t((b + 1) * N); ++i) {
                R difference = v["x"][i] - v["target"][i];
                sum += difference * difference;
                if (with_gradient) v["added"][i] += R(2 * weight) * difference;
              }
              v["losses"][size_t(b)] += R(weight) * sum;
            }
          }),
          .gradient = added.gradient};
}

// Of equal ones the first.
OpCase argmax(int64_t B, int64_t C, Fill logits) {
  return {.name = "argmax/" + dims({B, C}),
          .operands = {in("logits", {B, C}, logits), out("labels", {B}, Operand::Type::i32)},
          .run = [](Ctx& ctx, const Tensors& t) { ops::argmax(ctx, t["labels"], t["logits"]); },
          .reference = reference([=](auto& v) {
            for (int64_t b = 0; b < B; ++b) {
              auto row = v["logits"].begin() + b * C;
              int64_t first = 0;
              for (int64_t c = 0; c < C; ++c) first = row[c] > row[first] ? c : first;
              v["labels"][size_t(b)] = first;
            }
          }),
          .exact = true};
}

const AddCases rows{{
    kl(7, 10, 1),
    kl(7, 10, 5),
    kl(5, 1003, 2, 300),
    kl(3, 2, 0.5),
    kl(2, 4100, 3),
    kl(5, 37, 4, 0, true),
    kl(6, 37, 4, 0, false, false),
    squared({7, 10}),
    squared({3, 5, 37}),
    squared({2, 17, 96}),
    squared({4, 3, 7}, true),
    squared({5, 37}, false, false),
    argmax(7, 10, normal()),
    argmax(9, 37, below(3)),
    argmax(3, 2100, below(50)),
    argmax(2, 1500, constant(-4)),
    measured(kl(64, 1000, 4)),
    measured(squared({64, 197, 768})),
}};

}  // namespace
}  // namespace viaduct::test
