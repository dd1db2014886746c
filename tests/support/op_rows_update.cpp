#include <cmath>

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

// torch.optim.AdamW's single-tensor update, in its order.
// own_master: value in bf16, the master beside it; otherwise the value is the master.
OpCase adamw(int64_t n, int64_t step, bool own_master) {
  constexpr double lr = 3e-4, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, decay = 0.05, scale = 0.37;
  constexpr auto stat = Operand::Type::stat;
  auto small = [](RandomSequence& random, int64_t) { return random.uniform(0, 1e-3); };
  std::vector<Operand> operands{inout("m", {n}, stat, normal(0, 0.01)), inout("v", {n}, stat, small),
                                in("grad", {n}, normal(0, 0.02), stat), inout("master", {n}, stat)};
  if (own_master) operands.push_back(out("value", {n}));
  return {
      .name =
          "adamw/" + std::string(own_master ? "own_master/" : "") + std::to_string(n) + "/step_" + std::to_string(step),
      .operands = operands,
      .run =
          [=](Ctx& ctx, const Tensors& t) {
            Tensor value = t[own_master ? "value" : "master"];
            ops::adamw(ctx, {value, t["master"], t["m"], t["v"], t["grad"], lr, beta1, beta2, eps, decay, step, scale});
          },
      .reference = reference([=](auto& values) {
        using R = real_of<decltype(values)>;
        auto& master = values["master"];
        R step_size = R(lr / (1 - std::pow(beta1, double(step))));
        R root_correction2 = R(std::sqrt(1 - std::pow(beta2, double(step))));
        for (size_t i = 0; i < size_t(n); ++i) {
          R g = values["grad"][i] * R(scale);
          R &p = master[i], &m = values["m"][i], &v = values["v"][i];
          p *= R(1 - lr * decay);
          m += (g - m) * R(1 - beta1);
          v = v * R(beta2) + R(1 - beta2) * g * g;
          p -= step_size * m / (std::sqrt(v) / root_correction2 + R(eps));
          if (own_master) values["value"][i] = p;
        }
      }),
      .dtypes = own_master ? std::vector{DType::bf16} : std::vector{DType::f32, DType::f64}};
}

const AddCases rows{{
    squared_norm(1000),
    squared_norm(3 * ops::kNormChunk + 77),
    adamw(1000, 1, false),
    adamw(1000, 1, true),
    adamw(40000, 12, false),
    adamw(40000, 12, true),
    measured(squared_norm(40'000'000)),
    measured(adamw(20'000'000, 12, false)),
    measured(adamw(20'000'000, 12, true)),
}};

}  // namespace
}  // namespace viaduct::test
