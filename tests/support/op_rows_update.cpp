#include <array>
#include <cmath>

#include "core/ops/step_tail.hpp"
#include "core/ops/update.hpp"
#include "tests/support/op_case.hpp"

namespace viaduct::test {
namespace {

OpCase squared_norm(int64_t n) {
  return {.name = "squared_norm/" + std::to_string(n),
          .operands = {in("x", {n}), out("out", {1}, Operand::Type::f64)},
          .run = [](Ctx& ctx, const Tensors& t) { ops::squared_norm(ctx, t["out"], t["x"]); },
          .reference = reference([](auto& v) {
            auto sum = v["out"][0];
            for (auto x : v["x"]) sum += x * x;
            v["out"][0] = sum;
          }),
          .dtypes = {DType::f32, DType::f64}};
}

using StepScalars = std::array<double, ops::step_scalar::count>;

Operand scalars_of(const StepScalars& s, Operand::Role role = Operand::Role::in) {
  return {role, Operand::Type::f64, "scalars", {int64_t(s.size())}, listed({s.begin(), s.end()})};
}

// torch.nn.utils.clip_grad_norm_ of the mean gradient.
OpCase clip(const std::string& name, double squared_norm, double terms, double max_norm) {
  using namespace ops::step_scalar;
  constexpr auto f64 = Operand::Type::f64;
  return {.name = "clip/" + name,
          .operands = {in("squared_norm", {1}, constant(squared_norm), f64),
                       in("sums", {ops::step_sum::count}, listed({1.5, terms, 3, 1, 0}), f64),
                       scalars_of({1e-3, 0.1, 0.2, max_norm, -1, -1}, Operand::Role::inout)},
          .run = [](Ctx& ctx, const Tensors& t) { ops::clip(ctx, t["scalars"], t["squared_norm"], t["sums"]); },
          .reference = reference([=](auto& v) {
            using R = real_of<decltype(v)>;
            auto& s = v["scalars"];
            R mean = terms > 0 ? 1 / v["sums"][ops::step_sum::terms] : 0;
            R norm = std::sqrt(v["squared_norm"][0]) * mean,
              coefficient = s[ops::step_scalar::max_norm] / (norm + R(1e-6));
            s[grad_norm] = norm;
            s[grad_scale] = mean * (max_norm > 0 ? std::min(R(1), coefficient) : R(1));
          }),
          .dtypes = {DType::f32, DType::f64}};
}

// torch.optim.AdamW's single-tensor update, in its order.
// own_master: value in bf16, the master beside it; otherwise the value is the master.
OpCase adamw(int64_t n, int64_t step, bool own_master) {
  constexpr double lr = 3e-4, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, decay = 0.05, scale = 0.37;
  const double correction1 = 1 - std::pow(beta1, double(step));
  const double root_correction2 = std::sqrt(1 - std::pow(beta2, double(step)));
  constexpr auto stat = Operand::Type::stat;
  auto small = [](RandomSequence& random, int64_t) { return random.uniform(0, 1e-3); };
  std::vector<Operand> operands{inout("m", {n}, stat, normal(0, 0.01)), inout("v", {n}, stat, small),
                                in("grad", {n}, normal(0, 0.02), stat), inout("master", {n}, stat),
                                scalars_of({lr, correction1, root_correction2, 1, scale, 0})};
  if (own_master) operands.push_back(out("value", {n}));
  return {
      .name =
          "adamw/" + std::string(own_master ? "own_master/" : "") + std::to_string(n) + "/step_" + std::to_string(step),
      .operands = operands,
      .run =
          [=](Ctx& ctx, const Tensors& t) {
            Tensor value = t[own_master ? "value" : "master"];
            ops::adamw(ctx, {value, t["master"], t["m"], t["v"], t["grad"], t["scalars"], beta1, beta2, eps, decay});
          },
      .reference = reference([=](auto& values) {
        using R = real_of<decltype(values)>;
        auto& master = values["master"];
        R step_size = R(lr / correction1);
        for (size_t i = 0; i < size_t(n); ++i) {
          R g = values["grad"][i] * R(scale);
          R &p = master[i], &m = values["m"][i], &v = values["v"][i];
          p *= R(1 - lr * decay);
          m += (g - m) * R(1 - beta1);
          v = v * R(beta2) + R(1 - beta2) * g * g;
          p -= step_size * m / (std::sqrt(v) / R(root_correction2) + R(eps));
          if (own_master) values["value"][i] = p;
        }
      }),
      .dtypes = own_master ? std::vector{DType::bf16} : std::vector{DType::f32, DType::f64}};
}

// Clipping and the update of a step that must not change anything.
OpCase skipped(const std::string& why, double squared_norm, double nonfinite, bool own_master) {
  constexpr int64_t n = 1000;
  constexpr auto stat = Operand::Type::stat, f64 = Operand::Type::f64;
  std::vector<Operand> operands{inout("m", {n}, stat),
                                inout("v", {n}, stat, constant(1)),
                                in("grad", {n}, normal(), stat),
                                inout("master", {n}, stat),
                                scalars_of({1e-3, 0.1, 0.03, 1, 1, 0}),
                                in("squared_norm", {1}, constant(squared_norm), f64),
                                in("sums", {ops::step_sum::count}, listed({1.5, 8, 0, 0, nonfinite}), f64)};
  if (own_master) operands.push_back(inout("value", {n}));
  return {.name = "skipped_update/" + why + (own_master ? "/own_master" : ""),
          .operands = operands,
          .run =
              [=](Ctx& ctx, const Tensors& t) {
                auto scope = ctx.arena.scope("test");
                Tensor scalars = ctx.arena.temp(t["scalars"].shape, DType::f64);
                if (!ctx.device().is_meta()) transfer(scalars, t["scalars"], ctx.stream);
                ops::clip(ctx, scalars, t["squared_norm"], t["sums"]);
                Tensor value = t[own_master ? "value" : "master"];
                ops::adamw(ctx, {value, t["master"], t["m"], t["v"], t["grad"], scalars});
              },
          .reference = reference([](auto&) {}),
          .dtypes = own_master ? std::vector{DType::bf16} : std::vector{DType::f32, DType::f64},
          .exact = true};
}

// torch.lerp of every element; `factor`: of the gradients, not finite where a step is left out.
OpCase moving_average(int64_t n, double weight, double factor) {
  constexpr auto stat = Operand::Type::stat;
  return {.name = "moving_average/" + std::to_string(n) + (std::isfinite(factor) ? "" : "/left_out") +
                  (weight == 1 ? "/first" : ""),
          .operands = {inout("average", {n}, stat), in("values", {n}, normal(), stat),
                       scalars_of({1e-3, 0.1, 0.03, 1, factor, 0, weight})},
          .run = [](Ctx& ctx, const Tensors& t) { ops::moving_average(ctx, t["average"], t["values"], t["scalars"]); },
          .reference = reference([=](auto& v) {
            using R = real_of<decltype(v)>;
            if (!std::isfinite(factor)) return;
            for (size_t i = 0; i < size_t(n); ++i) {
              R &a = v["average"][i], x = v["values"][i], w = R(weight);
              a = w < R(0.5) ? a + w * (x - a) : x - (x - a) * (1 - w);
            }
          }),
          .dtypes = {DType::f32, DType::f64}};
}

OpCase exchange(int64_t n) {
  constexpr auto stat = Operand::Type::stat;
  return {.name = "exchange/" + std::to_string(n),
          .operands = {inout("a", {n}, stat), inout("b", {n}, stat)},
          .run = [](Ctx& ctx, const Tensors& t) { ops::exchange(ctx, t["a"], t["b"]); },
          .reference = reference([](auto& v) { std::swap(v["a"], v["b"]); }),
          .dtypes = {DType::f32, DType::f64},
          .exact = true};
}

// adamw(), with a rate of its own.
OpCase at_rate(OpCase c, double rate) {
  c.name += "/rate";
  c.run = [=](Ctx& ctx, const Tensors& t) {
    ops::adamw(ctx, {t["master"], t["master"], t["m"], t["v"], t["grad"], t["scalars"], 0.9, 0.999, 1e-8, 0.05, rate});
  };
  c.operands[4] = scalars_of({3e-4 / rate, 1 - 0.9, std::sqrt(1 - 0.999), 1, 0.37, 0});
  return c;
}

const AddCases rows{{
    squared_norm(1000),
    squared_norm(3 * ops::kNormChunk + 77),
    clip("below", 400, 80, 1),
    clip("above", 400, 8, 1),
    clip("off", 400, 8, 0),
    clip("no_terms", 0, 0, 1),
    adamw(1000, 1, false),
    adamw(1000, 1, true),
    adamw(1, 3, false),
    adamw(5, 3, true),
    adamw(40003, 12, false),
    adamw(40003, 12, true),
    at_rate(adamw(1000, 1, false), 0.25),
    moving_average(40003, 0.001, 1),
    moving_average(1000, 0.75, 1),
    moving_average(5, 1, 1),
    moving_average(1000, 0.001, NAN),
    exchange(40003),
    exchange(3),
    skipped("infinite_norm", INFINITY, 0, false),
    skipped("infinite_norm", INFINITY, 0, true),
    skipped("norm_is_no_number", NAN, 0, false),
    skipped("nonfinite_loss", 400, 1, false),
    skipped("nonfinite_loss", 400, 1, true),
    measured(squared_norm(40'000'000)),
    measured(moving_average(20'000'000, 0.001, 1)),
    measured(adamw(20'000'000, 12, false)),
    measured(adamw(20'000'000, 12, true)),
}};

}  // namespace
}  // namespace viaduct::test
