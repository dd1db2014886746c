// Element types. A dtype is a runtime value at every interface and a template parameter inside an op's file.
#pragma once
#include <cstdint>
#include <string_view>

#include "core/base/check.hpp"
#include "core/tensor/bf16.hpp"

namespace viaduct {

enum class DType : uint8_t { f32, bf16, f64, i32, i64, u8 };  // f64: gradient checks on the CPU only

inline int64_t size_of(DType t) {
  constexpr int64_t sizes[] = {4, 2, 8, 4, 8, 1};
  return sizes[int(t)];
}
inline const char* name_of(DType t) {
  constexpr const char* names[] = {"fp32", "bf16", "fp64", "int32", "int64", "uint8"};
  return names[int(t)];
}

template <class T>
inline constexpr DType dtype_of = DType::u8;
template <>
inline constexpr DType dtype_of<float> = DType::f32;
template <>
inline constexpr DType dtype_of<bf16> = DType::bf16;
template <>
inline constexpr DType dtype_of<double> = DType::f64;
template <>
inline constexpr DType dtype_of<int32_t> = DType::i32;
template <>
inline constexpr DType dtype_of<int64_t> = DType::i64;

// The type in which values of T are computed and accumulated: double for double, float for the rest.
template <class T>
struct compute_type {
  using type = float;
};
template <>
struct compute_type<double> {
  using type = double;
};
template <class T>
using compute_t = typename compute_type<T>::type;

// The same at run time: the dtype of statistics, losses, parameter gradients and optimizer state beside tensors of `t`.
inline DType stat_dtype(DType t) { return t == DType::f64 ? DType::f64 : DType::f32; }

// Calls f.template operator()<T>() for a floating dtype: dispatch(t, [&]<class T>() { ... }).
template <class F>
decltype(auto) dispatch(DType t, F&& f) {
  switch (t) {
    case DType::f32:
      return f.template operator()<float>();
    case DType::bf16:
      return f.template operator()<bf16>();
    case DType::f64:
      return f.template operator()<double>();
    default:
      fail(Exit::crash, fmt::format("expected a floating dtype, found {}", name_of(t)));
  }
}

}  // namespace viaduct
