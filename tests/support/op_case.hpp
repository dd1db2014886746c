// The case table. A row says how to call an op and what it means, and is tested for its values, its gradient, its
// bounds, its plan and its independence of threads (tests/core/op_table_test.cpp) and measured
// (tests/bench/ops_bench.cpp). To test a new op, write its rows in an op_rows_*.cpp beside this file; nothing else
// knows the list.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/base/philox.hpp"
#include "core/device/context.hpp"

namespace viaduct::test {

// The value of element i of an operand before it is rounded to the operand's dtype.
using Fill = std::function<double(RandomSequence&, int64_t i)>;
Fill normal(double mean = 0, double stddev = 1);
Fill constant(double);
Fill below(int64_t n);  // integers in [0, n)
Fill listed(std::vector<double>);

struct Operand {
  enum class Role { in, out, inout } role = Role::in;
  // value: the dtype under test; stat: fp32, or fp64 when that is under test (statistics, losses, parameter gradients).
  enum class Type { value, stat, f64, i32, i64, u8 } type = Type::value;
  std::string name;
  Shape shape;
  Fill fill = normal();
  bool is_output() const { return role != Role::in; }
  DType dtype(DType under_test) const;
};
inline Operand in(std::string name, Shape s, Fill f = normal(), Operand::Type t = Operand::Type::value) {
  return {Operand::Role::in, t, std::move(name), s, std::move(f)};
}
inline Operand out(std::string name, Shape s, Operand::Type t = Operand::Type::value) {
  return {Operand::Role::out, t, std::move(name), s, constant(0)};
}
inline Operand inout(std::string name, Shape s, Operand::Type t = Operand::Type::value, Fill f = normal()) {
  return {Operand::Role::inout, t, std::move(name), s, std::move(f)};
}

// The operands by name.
class Tensors {
 public:
  const Tensor& operator[](const std::string& name) const;
  void set(const std::string& name, Tensor t) { by_name_[name] = t; }

 private:
  std::map<std::string, Tensor> by_name_;
};

// The operands as numbers of type R, rounded to their dtypes: what a reference reads and writes.
template <class R>
class Values {
 public:
  using Real = R;
  explicit Values(DType under_test) : dtype(under_test) {}
  std::vector<R>& operator[](const std::string& name) {
    auto found = by_name_.find(name);
    expect(found != by_name_.end(), "a reference reads operands of its case only");
    return found->second;
  }
  void set(const std::string& name, std::vector<R> v) { by_name_[name] = std::move(v); }

  const DType dtype;

 private:
  std::map<std::string, std::vector<R>> by_name_;
};

// The op written naively, once, for any type of number: [](auto& v) { ... v["y"][i] = ... }. In long double it is the
// truth; in the op's own precision its error is the yardstick.
struct Reference {
  std::function<void(Values<float>&)> in_float;
  std::function<void(Values<double>&)> in_double;
  std::function<void(Values<long double>&)> in_long_double;
};
template <class F>
Reference reference(F f) {
  return {f, f, f};
}
template <class V>
using real_of = typename std::remove_reference_t<V>::Real;

using Run = std::function<void(Ctx&, const Tensors&)>;

// `backward` reads "d" + output, filled by `cotangent`, and writes (or adds into zeros) "d" + input for every input.
struct Gradient {
  std::string output;
  std::vector<std::string> inputs;
  Run backward;
  Fill cotangent = normal();
};

struct OpCase {
  std::string name;  // unique: op, variant and shape
  std::vector<Operand> operands;
  Run run;
  Reference reference;
  Gradient gradient{};                                         // of a forward op; no inputs: none
  std::vector<std::pair<std::string, std::string>> aliases{};  // (output, input) that may be one tensor
  std::vector<DType> dtypes{DType::f32, DType::bf16, DType::f64};
  bool on_cuda = true;  // false: it reads fp64 values, which stay on the CPU
  bool exact = false;   // no rounding is allowed but the naive one
  bool bench = false;   // large: measured, and left out of the tests
  double flops = 0;     // worth saying for products only

  int64_t bytes(DType) const;  // read and written, every operand once each way
};
inline OpCase measured(OpCase c) {
  c.bench = true;
  return c;
}

std::vector<OpCase>& case_table();
struct AddCases {
  AddCases(std::vector<OpCase> cases);
};
std::string dims(Shape);  // "8x197x768"

// Memory for the operands of a case on a device, filled. Every operand stands `misalign` elements off a 64-byte boundary
// between two guards whose bytes read as NaN, so that a write beside it is seen and a read beside it spoils the result.
class OperandMemory {
 public:
  OperandMemory(const OpCase&, DType, Device = Device::cpu(), int64_t misalign = 0, uint64_t seed = 1);
  void add(const Operand&);  // beyond those of the case
  const Tensors& tensors() const { return tensors_; }
  std::vector<std::byte> bytes(const std::string& name) const;  // of the operand, as they are now
  template <class R>
  Values<R> values() const;
  std::string damaged_guards() const;  // names of the operands, or nothing

 private:
  static constexpr int64_t kGuard = 64;
  struct Piece {
    Operand operand;
    Buffer memory;
    int64_t offset;
    std::vector<uint8_t> bytes() const;  // with the guards
  };
  DType under_test_;
  Device device_;
  int64_t misalign_;
  uint64_t seed_;
  std::vector<Piece> pieces_;
  Tensors tensors_;
};
Tensors meta_tensors(const OpCase&, DType, Device::Kind planned = Device::Kind::cpu);

}  // namespace viaduct::test
