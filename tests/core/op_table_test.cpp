// Every row of the case table against everything that holds for every op.
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "tests/support/op_checks.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct::test {
namespace {

std::vector<const OpCase*> differentiable() {
  std::vector<const OpCase*> cases;
  for (const OpCase& c : case_table())
    if (!c.bench && !c.gradient.inputs.empty()) cases.push_back(&c);
  return cases;
}

class OpTable : public testing::TestWithParam<Row> {};

TEST_P(OpTable, ValuesAreNoWorseThanTwiceTheNaiveError) {
  expect_at_most_twice_the_naive_error(GetParam(), Device::cpu());
}

TEST_P(OpTable, TouchesNothingBesideItsOutputs) { expect_nothing_beside_outputs_is_touched(GetParam(), Device::cpu()); }

TEST_P(OpTable, PlansWhatItUses) { expect_planned_memory_is_used(GetParam(), Device::cpu()); }

TEST_P(OpTable, BitsDoNotDependOnThreads) {
  int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  auto one = run_and_take_outputs(GetParam(), Device::cpu());
  omp_set_num_threads(3);
  auto three = run_and_take_outputs(GetParam(), Device::cpu());
  omp_set_num_threads(threads);
  EXPECT_EQ(one, three);
}

TEST_P(OpTable, OutputsMayAliasInputsWhereItSaysSo) { expect_outputs_may_alias_inputs(GetParam(), Device::cpu()); }

INSTANTIATE_TEST_SUITE_P(Table, OpTable,
                         testing::ValuesIn(test_rows({DType::f32, DType::bf16, DType::f64}, Device::cpu())),
                         [](auto& info) { return name_of(info.param); });

class OpGradient : public testing::TestWithParam<const OpCase*> {};

// Central differences of sum(cotangent * output) in fp64: along random directions through every element of an input,
// and at single elements, where a fault cannot hide among others.
TEST_P(OpGradient, IsTheSlope) {
  const OpCase& c = *GetParam();
  OperandMemory memory(c, DType::f64);
  auto operand = [&](const std::string& name) {
    return *std::find_if(c.operands.begin(), c.operands.end(), [&](const Operand& o) { return o.name == name; });
  };
  Operand output = operand(c.gradient.output);
  memory.add(in("d" + output.name, output.shape, c.gradient.cotangent));
  for (const std::string& name : c.gradient.inputs) memory.add(inout("d" + name, operand(name).shape, {}, constant(0)));
  const Tensors& t = memory.tensors();
  TestCtx ctx(DType::f64);
  auto loss = [&] {
    ctx.packed.values_changed();
    c.run(ctx, t);
    const Tensor &y = t[output.name], &dy = t["d" + output.name];
    long double sum = 0;
    for (int64_t i = 0; i < y.numel(); ++i) sum += (long double)data<double>(y)[i] * data<double>(dy)[i];
    return sum;
  };
  loss();  // leaves what the forward pass saves
  c.gradient.backward(ctx, t);
  RandomSequence random(1, Draw::shuffle);
  for (const std::string& name : c.gradient.inputs) {
    std::span x(data<double>(t[name]), size_t(t[name].numel())), dx(data<double>(t["d" + name]), x.size());
    double largest = 1;
    for (double d : dx) largest = std::max(largest, std::abs(d));
    auto slope_along = [&](const std::vector<double>& direction) {
      constexpr double h = 1e-5;
      std::vector<double> at(x.begin(), x.end());
      auto loss_at = [&](double step) {
        for (size_t i = 0; i < x.size(); ++i) x[i] = at[i] + step * direction[i];
        return loss();
      };
      long double difference = loss_at(h) - loss_at(-h);
      std::copy(at.begin(), at.end(), x.begin());
      return double(difference / (2 * h));
    };
    for (int k = 0; k < 4; ++k) {
      std::vector<double> direction(x.size());
      for (double& d : direction) d = random.uniform(-1, 1);
      EXPECT_NEAR(std::inner_product(dx.begin(), dx.end(), direction.begin(), 0.0), slope_along(direction),
                  1e-7 * largest * std::sqrt(x.size()))
          << name << " along direction " << k;
    }
    for (int k = 0; k < 12; ++k) {
      size_t i = x.size() <= 12 ? size_t(k) % x.size() : random.below(x.size());
      std::vector<double> direction(x.size());
      direction[i] = 1;
      EXPECT_NEAR(dx[i], slope_along(direction), 1e-7 * largest) << name << "[" << i << "]";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Table, OpGradient, testing::ValuesIn(differentiable()), [](auto& info) {
  return name_of(Row{info.param, DType::f64});
});

}  // namespace
}  // namespace viaduct::test
