// A tensor is a non-owning, contiguous, row-major view: copy it by value. Memory belongs to an Arena, a Buffer or a
// store.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "core/tensor/dtype.hpp"

namespace viaduct {

struct Device {
  enum class Kind : uint8_t { cpu, cuda, meta };  // meta: shapes without memory, for planning
  Kind kind = Kind::cpu;
  int index = 0;
  Kind planned = Kind::cpu;  // of meta: the kind that is planned for
  static constexpr Device cpu() { return {Kind::cpu, 0}; }
  static constexpr Device cuda(int index = 0) { return {Kind::cuda, index}; }
  static constexpr Device meta(Kind planned = Kind::cpu) { return {Kind::meta, 0, planned}; }
  bool is_meta() const { return kind == Kind::meta; }
  bool is_cuda() const { return kind == Kind::cuda; }
  Kind backend() const { return is_meta() ? planned : kind; }  // whose implementation runs, or is planned
  bool operator==(const Device&) const = default;
};

struct Shape {
  std::array<int64_t, 4> dim{};
  int rank = 0;
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) {
    expect(dims.size() <= dim.size(), "a shape has at most 4 dimensions");
    for (int64_t d : dims) dim[rank++] = d;
  }
  int64_t operator[](int i) const { return dim[i < 0 ? rank + i : i]; }
  int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= dim[i];
    return n;
  }
  int64_t last() const { return rank ? dim[rank - 1] : 1; }
  int64_t rows() const { return last() ? numel() / last() : 0; }  // all dimensions but the last, flattened
  bool operator==(const Shape&) const = default;
};
std::string to_string(const Shape&);

struct Tensor {
  void* data = nullptr;
  Shape shape;
  DType dtype = DType::f32;
  Device device;

  int64_t numel() const { return shape.numel(); }
  int64_t bytes() const { return numel() * size_of(dtype); }
  explicit operator bool() const { return shape.rank > 0; }  // false: absent (no bias, gradient not wanted)

  Tensor reshape(Shape) const;                     // same number of elements
  Tensor slice(int64_t begin, int64_t end) const;  // along dimension 0
};
std::string to_string(const Tensor&);  // "fp32 [8, 197, 768] on cpu"

// The elements as T; the dtype must match and the device must hold memory that the host can read.
template <class T>
T* data(const Tensor& t) {
  expect(t.dtype == dtype_of<T>, "a tensor was read as another dtype than it holds");
  expect(t.device.kind == Device::Kind::cpu, "a tensor that is not in host memory was read on the host");
  return static_cast<T*>(t.data);
}

}  // namespace viaduct
