#include "tests/support/op_checks.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "tests/support/test_ctx.hpp"

namespace viaduct::test {
namespace {

int64_t planned_bytes(const Row& row, Device device) {
  TestCtx meta(row.dtype, Device::meta(device.kind));
  row.op->run(meta, meta_tensors(*row.op, row.dtype, device.kind));
  return meta.arena.peak().bytes;
}

void run(const Row& row, const Tensors& tensors, Device device) {
  TestCtx ctx(row.dtype, device, planned_bytes(row, device));
  row.op->run(ctx, tensors);
  ctx.stream.synchronize();
}

// Half the distance between 1 and the next number.
double unit_roundoff(DType t) { return t == DType::bf16 ? 0x1p-9 : t == DType::f32 ? 0x1p-24 : 0x1p-53; }

long double round_to(DType t, long double x) {
  if (t == DType::f64) return double(x);
  return t == DType::bf16 ? float(bf16(float(x))) : float(x);
}

// What the naive op makes of the operands, rounded to their dtypes as storing does.
std::map<std::string, std::vector<long double>> naive_outputs(const Row& row, const OperandMemory& memory) {
  std::map<std::string, std::vector<long double>> outputs;
  auto in_precision = [&]<class R>(const std::function<void(Values<R>&)>& reference) {
    Values<R> v = memory.values<R>();
    reference(v);
    for (const Operand& o : row.op->operands) {
      if (!o.is_output()) continue;
      auto& rounded = outputs[o.name];
      for (R x : v[o.name]) rounded.push_back(round_to(o.dtype(row.dtype), x));
    }
  };
  if (row.dtype == DType::f64)
    in_precision(row.op->reference.in_double);
  else
    in_precision(row.op->reference.in_float);
  return outputs;
}

}  // namespace

std::vector<Row> test_rows(const std::vector<DType>& dtypes, Device device) {
  std::vector<Row> rows;
  for (const OpCase& c : case_table())
    for (DType t : c.dtypes)
      if (!c.bench && (c.on_cuda || !device.is_cuda()) && std::find(dtypes.begin(), dtypes.end(), t) != dtypes.end())
        rows.push_back({&c, t});
  return rows;
}

std::string name_of(const Row& row) {
  std::string text = row.op->name + "/" + viaduct::name_of(row.dtype);
  for (char& c : text)
    if (!std::isalnum(uint8_t(c))) c = '_';
  return text;
}

std::vector<std::byte> run_and_take_outputs(const Row& row, Device device) {
  OperandMemory memory(*row.op, row.dtype, device);
  run(row, memory.tensors(), device);
  std::vector<std::byte> all;
  for (const Operand& o : row.op->operands) {
    if (!o.is_output()) continue;
    const std::vector<std::byte> bytes = memory.bytes(o.name);
    all.insert(all.end(), bytes.begin(), bytes.end());
  }
  return all;
}

// The largest errors over several drawings of the operands: of few elements a single one may flatter either side.
void expect_at_most_twice_the_naive_error(const Row& row, Device device) {
  struct Errors {
    long double ours = 0, naive = 0, largest = 0;
  };
  std::map<std::string, Errors> errors;
  for (uint64_t seed : {1, 2, 3}) {
    OperandMemory memory(*row.op, row.dtype, device, 0, seed);
    auto truth = memory.values<long double>();
    row.op->reference.in_long_double(truth);
    auto naive = naive_outputs(row, memory);
    run(row, memory.tensors(), device);
    auto ours = memory.values<long double>();
    for (const Operand& o : row.op->operands) {
      if (!o.is_output()) continue;
      Errors& e = errors[o.name];
      for (size_t i = 0; i < truth[o.name].size(); ++i) {
        long double x = ours[o.name][i], t = truth[o.name][i], n = naive[o.name][i];
        if (row.op->exact) {
          ASSERT_EQ(x, n) << o.name << "[" << i << "]";
          continue;
        }
        ASSERT_TRUE(std::isfinite(x)) << o.name << "[" << i << "] should be " << double(t);
        e.ours = std::max(e.ours, std::abs(x - t)), e.naive = std::max(e.naive, std::abs(n - t));
        e.largest = std::max(e.largest, std::abs(t));
      }
    }
  }
  for (const Operand& o : row.op->operands) {
    if (!o.is_output()) continue;
    const Errors& e = errors[o.name];
    // A result that is rounded once may be off by a unit roundoff; luck may not ask more of ours.
    const long double naive = std::max(e.naive, unit_roundoff(o.dtype(row.dtype)) * e.largest);
    EXPECT_LE(double(e.ours), double(2 * naive)) << o.name << ", of size " << double(e.largest);
  }
}

void expect_nothing_beside_outputs_is_touched(const Row& row, Device device) {
  OperandMemory memory(*row.op, row.dtype, device, 1), before(*row.op, row.dtype, device, 1);
  run(row, memory.tensors(), device);
  EXPECT_EQ(memory.damaged_guards(), "");
  for (const Operand& o : row.op->operands)
    if (!o.is_output()) {
      EXPECT_EQ(memory.bytes(o.name), before.bytes(o.name)) << "the op changed its input " << o.name;
    }
}

void expect_planned_memory_is_used(const Row& row, Device device) {
  OperandMemory memory(*row.op, row.dtype, device);
  int64_t planned = planned_bytes(row, device);
  TestCtx ctx(row.dtype, device, planned);
  row.op->run(ctx, memory.tensors());
  ctx.stream.synchronize();
  EXPECT_EQ(ctx.arena.peak().bytes, planned);
  EXPECT_TRUE(ctx.arena.empty());
}

void expect_outputs_may_alias_inputs(const Row& row, Device device) {
  for (const auto& [output, input] : row.op->aliases) {
    OperandMemory apart(*row.op, row.dtype, device), together(*row.op, row.dtype, device);
    run(row, apart.tensors(), device);
    Tensors tensors = together.tensors();
    tensors.set(output, tensors[input]);
    run(row, tensors, device);
    EXPECT_EQ(apart.bytes(output), together.bytes(input)) << output << " in place of " << input;
  }
}

}  // namespace viaduct::test
