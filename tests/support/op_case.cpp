#include "tests/support/op_case.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace viaduct::test {
namespace {

template <class F>
decltype(auto) with_element(DType t, F&& f) {
  switch (t) {
    case DType::f32:
      return f.template operator()<float>();
    case DType::bf16:
      return f.template operator()<bf16>();
    case DType::f64:
      return f.template operator()<double>();
    case DType::i32:
      return f.template operator()<int32_t>();
    case DType::i64:
      return f.template operator()<int64_t>();
    case DType::u8:
      break;
  }
  return f.template operator()<uint8_t>();
}

}  // namespace

Fill normal(double mean, double stddev) {
  return [=](RandomSequence& random, int64_t) {
    double radius = std::sqrt(-2 * std::log(1 - random.uniform()));
    return mean + stddev * radius * std::cos(2 * M_PI * random.uniform());
  };
}
Fill constant(double c) {
  return [=](RandomSequence&, int64_t) { return c; };
}
Fill below(int64_t n) {
  return [=](RandomSequence& random, int64_t) { return double(random.below(uint64_t(n))); };
}
Fill listed(std::vector<double> values) {
  return [values = std::move(values)](RandomSequence&, int64_t i) { return values.at(size_t(i)); };
}

DType Operand::dtype(DType under_test) const {
  switch (type) {
    case Type::value:
      return under_test;
    case Type::stat:
      return stat_dtype(under_test);
    case Type::f64:
      return DType::f64;
    case Type::i32:
      return DType::i32;
    case Type::i64:
      return DType::i64;
    case Type::u8:
      break;
  }
  return DType::u8;
}

const Tensor& Tensors::operator[](const std::string& name) const {
  auto found = by_name_.find(name);
  expect(found != by_name_.end(), "a case calls its op with its own operands only");
  return found->second;
}

int64_t OpCase::bytes(DType dtype) const {
  int64_t n = 0;
  for (const Operand& o : operands)
    n += o.shape.numel() * size_of(o.dtype(dtype)) * (o.role == Operand::Role::inout ? 2 : 1);
  return n;
}

std::vector<OpCase>& case_table() {
  static std::vector<OpCase> table;
  return table;
}
AddCases::AddCases(std::vector<OpCase> cases) {
  for (OpCase& c : cases) case_table().push_back(std::move(c));
}

std::string dims(Shape s) {
  std::string text;
  for (int i = 0; i < s.rank; ++i) {
    if (i) text += 'x';
    text += std::to_string(s[i]);
  }
  return text;
}

OperandMemory::OperandMemory(const OpCase& c, DType dtype, Device device, int64_t misalign, uint64_t seed)
    : under_test_(dtype), device_(device), misalign_(misalign), seed_(seed) {
  for (const Operand& o : c.operands) add(o);
}

void OperandMemory::add(const Operand& o) {
  DType dtype = o.dtype(under_test_);
  int64_t bytes = o.shape.numel() * size_of(dtype), offset = kGuard + misalign_ * size_of(dtype);
  Buffer filled(Device::cpu(), offset + bytes + kGuard);
  std::memset(filled.data(), 0xff, size_t(filled.bytes()));
  Tensor t = filled.view(offset, o.shape, dtype);
  RandomSequence random(seed_, Draw::init, uint32_t(pieces_.size()));
  constexpr int64_t kDistinct = 1 << 18;  // elements of a large operand repeat: drawing is slow
  with_element(dtype, [&]<class T>() {
    T* to = static_cast<T*>(t.data);
    for (int64_t i = 0; i < t.numel(); ++i) to[i] = i < kDistinct ? T(o.fill(random, i)) : to[i - kDistinct];
  });
  if (device_ != Device::cpu()) {
    Buffer there(device_, filled.bytes());
    Stream stream(device_);
    transfer(there.view(0, {there.bytes()}, DType::u8), filled.view(0, {filled.bytes()}, DType::u8), stream);
    stream.synchronize();
    filled = std::move(there);
  }
  tensors_.set(o.name, filled.view(offset, o.shape, dtype));
  pieces_.push_back({o, std::move(filled), offset});
}

std::vector<uint8_t> OperandMemory::Piece::bytes() const {
  std::vector<uint8_t> all(size_t(memory.bytes()));
  Stream stream(memory.device());
  transfer({all.data(), {memory.bytes()}, DType::u8, Device::cpu()}, memory.view(0, {memory.bytes()}, DType::u8),
           stream);
  stream.synchronize();
  return all;
}

std::vector<std::byte> OperandMemory::bytes(const std::string& name) const {
  auto piece = std::find_if(pieces_.begin(), pieces_.end(), [&](const Piece& p) { return p.operand.name == name; });
  expect(piece != pieces_.end(), "an operand of the case");
  const std::vector<uint8_t> all = piece->bytes();
  auto* from = reinterpret_cast<const std::byte*>(all.data()) + piece->offset;
  return {from, from + tensors_[name].bytes()};
}

template <class R>
Values<R> OperandMemory::values() const {
  Values<R> values(under_test_);
  for (const Piece& p : pieces_) {
    const Tensor& t = tensors_[p.operand.name];
    const std::vector<std::byte> all = bytes(p.operand.name);
    std::vector<R> v(size_t(t.numel()));
    with_element(t.dtype, [&]<class T>() {
      for (size_t i = 0; i < v.size(); ++i) v[i] = R(reinterpret_cast<const T*>(all.data())[i]);
    });
    values.set(p.operand.name, std::move(v));
  }
  return values;
}
template Values<float> OperandMemory::values() const;
template Values<double> OperandMemory::values() const;
template Values<long double> OperandMemory::values() const;

std::string OperandMemory::damaged_guards() const {
  std::string names;
  for (const Piece& p : pieces_) {
    const std::vector<uint8_t> all = p.bytes();
    int64_t end = p.offset + tensors_[p.operand.name].bytes();
    bool whole = true;
    for (int64_t i = 0; i < int64_t(all.size()); ++i)
      if (i < p.offset || i >= end) whole &= all[size_t(i)] == 0xff;
    if (!whole) names += (names.empty() ? "" : ", ") + p.operand.name;
  }
  return names;
}

Tensors meta_tensors(const OpCase& c, DType dtype, Device::Kind planned) {
  Tensors tensors;
  for (const Operand& o : c.operands) tensors.set(o.name, {nullptr, o.shape, o.dtype(dtype), Device::meta(planned)});
  return tensors;
}

}  // namespace viaduct::test
