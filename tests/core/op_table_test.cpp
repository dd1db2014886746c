// Every row of the case table against everything that holds for every op.
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <span>

#include "tests/support/op_case.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct::test {
namespace {

struct Row {
  const OpCase* op;
  DType dtype;
};

std::vector<Row> test_rows() {
  std::vector<Row> rows;
  for (const OpCase& c : case_table())
    if (!c.bench)
      for (DType t : c.dtypes) rows.push_back({&c, t});
  return rows;
}

std::vector<const OpCase*> differentiable() {
  std::vector<const OpCase*> cases;
  for (const OpCase& c : case_table())
    if (!c.bench && !c.gradient.inputs.empty()) cases.push_back(&c);
  return cases;
}

std::string name_of(std::string text) {
  for (char& c : text)
    if (!std::isalnum(uint8_t(c))) c = '_';
  return text;
}

int64_t planned_bytes(const OpCase& c, DType dtype) {
  TestCtx meta(dtype, Device::meta());
  c.run(meta, meta_tensors(c, dtype));
  return meta.arena.peak().bytes;
}

void run(const OpCase& c, OperandMemory& memory, DType dtype) {
  TestCtx ctx(dtype, Device::cpu(), planned_bytes(c, dtype));
  c.run(ctx, memory.tensors());
}

std::vector<std::byte> outputs_of(const OpCase& c, const OperandMemory& memory) {
  std::vector<std::byte> all;
  for (const Operand& o : c.operands) {
    if (!o.is_output()) continue;
    const Tensor& t = memory.tensors()[o.name];
    auto* bytes = static_cast<const std::byte*>(t.data);
    all.insert(all.end(), bytes, bytes + t.bytes());
  }
  return all;
}

// Half the distance between 1 and the next number.
double unit_roundoff(DType t) { return t == DType::bf16 ? 0x1p-9 : t == DType::f32 ? 0x1p-24 : 0x1p-53; }

long double round_to(DType t, long double x) {
  if (t == DType::f64) return double(x);
  return t == DType::bf16 ? float(bf16(float(x))) : float(x);
}

class OpTable : public testing::TestWithParam<Row> {
 protected:
  const OpCase& op() { return *GetParam().op; }
  DType dtype() { return GetParam().dtype; }
};

// What the naive op makes of the operands, rounded to their dtypes as storing does.
std::map<std::string, std::vector<long double>> naive_outputs(const OpCase& c, DType dtype,
                                                              const OperandMemory& memory) {
  std::map<std::string, std::vector<long double>> outputs;
  auto in_precision = [&]<class R>(const std::function<void(Values<R>&)>& reference) {
    Values<R> v = memory.values<R>();
    reference(v);
    for (const Operand& o : c.operands) {
      if (!o.is_output()) continue;
      auto& rounded = outputs[o.name];
      for (R x : v[o.name]) rounded.push_back(round_to(o.dtype(dtype), x));
    }
  };
  if (dtype == DType::f64)
    in_precision(c.reference.in_double);
  else
    in_precision(c.reference.in_float);
  return outputs;
}

TEST_P(OpTable, ValuesAreNoWorseThanTwiceTheNaiveError) {
  OperandMemory memory(op(), dtype());
  auto truth = memory.values<long double>();
  op().reference.in_long_double(truth);
  auto naive = naive_outputs(op(), dtype(), memory);
  run(op(), memory, dtype());
  auto ours = memory.values<long double>();
  for (const Operand& o : op().operands) {
    if (!o.is_output()) continue;
    long double error = 0, naive_error = 0, largest = 0;
    for (size_t i = 0; i < truth[o.name].size(); ++i) {
      long double x = ours[o.name][i], t = truth[o.name][i], n = naive[o.name][i];
      if (op().exact) {
        ASSERT_EQ(x, n) << o.name << "[" << i << "]";
        continue;
      }
      ASSERT_TRUE(std::isfinite(x)) << o.name << "[" << i << "] should be " << double(t);
      error = std::max(error, std::abs(x - t)), naive_error = std::max(naive_error, std::abs(n - t));
      largest = std::max(largest, std::abs(t));
    }
    // A result that is rounded once may be off by a unit roundoff; luck may not ask more of ours.
    naive_error = std::max(naive_error, unit_roundoff(o.dtype(dtype())) * largest);
    EXPECT_LE(double(error), double(2 * naive_error)) << o.name << ", of size " << double(largest);
  }
}

TEST_P(OpTable, TouchesNothingBesideItsOutputs) {
  OperandMemory memory(op(), dtype(), 1), before(op(), dtype(), 1);
  run(op(), memory, dtype());
  EXPECT_EQ(memory.damaged_guards(), "");
  for (const Operand& o : op().operands) {
    if (o.is_output()) continue;
    const Tensor &now = memory.tensors()[o.name], &then = before.tensors()[o.name];
    EXPECT_EQ(std::memcmp(now.data, then.data, size_t(now.bytes())), 0) << "the op changed its input " << o.name;
  }
}

TEST_P(OpTable, PlansWhatItUses) {
  OperandMemory memory(op(), dtype());
  int64_t planned = planned_bytes(op(), dtype());
  TestCtx ctx(dtype(), Device::cpu(), planned);
  op().run(ctx, memory.tensors());
  EXPECT_EQ(ctx.arena.peak().bytes, planned);
  EXPECT_TRUE(ctx.arena.empty());
}

TEST_P(OpTable, BitsDoNotDependOnThreads) {
  int threads = omp_get_max_threads();
  OperandMemory one(op(), dtype()), three(op(), dtype());
  omp_set_num_threads(1);
  run(op(), one, dtype());
  omp_set_num_threads(3);
  run(op(), three, dtype());
  omp_set_num_threads(threads);
  EXPECT_EQ(outputs_of(op(), one), outputs_of(op(), three));
}

TEST_P(OpTable, OutputsMayAliasInputsWhereItSaysSo) {
  for (const auto& [output, input] : op().aliases) {
    OperandMemory apart(op(), dtype()), together(op(), dtype());
    run(op(), apart, dtype());
    Tensors tensors = together.tensors();
    tensors.set(output, tensors[input]);
    TestCtx ctx(dtype());
    op().run(ctx, tensors);
    const Tensor &expected = apart.tensors()[output], &found = tensors[output];
    EXPECT_EQ(std::memcmp(expected.data, found.data, size_t(found.bytes())), 0) << output << " in place of " << input;
  }
}

INSTANTIATE_TEST_SUITE_P(Table, OpTable, testing::ValuesIn(test_rows()),
                         [](auto& info) { return name_of(info.param.op->name + "/" + name_of(info.param.dtype)); });

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

INSTANTIATE_TEST_SUITE_P(Table, OpGradient, testing::ValuesIn(differentiable()),
                         [](auto& info) { return name_of(info.param->name); });

}  // namespace
}  // namespace viaduct::test
