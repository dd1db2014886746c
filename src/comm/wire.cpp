#include "comm/wire.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace viaduct {
namespace {

constexpr float kUnit = 1.0f / float(int64_t(1) << kWireFraction);

template <class To, class From, class F>
void each(const Tensor& to, const Tensor& from, F&& f) {
  To* a = data<To>(to);
  const From* b = data<From>(from);
  for (int64_t i = 0, n = to.numel(); i < n; ++i) a[i] = f(a[i], b[i]);
}

// What is not finite becomes 0: the step tail says that it was there.
int64_t fixed(float x) { return std::isfinite(x) ? int64_t(std::nearbyint(double(x) / double(kUnit))) : 0; }

[[noreturn]] void refuse(const Tensor& to, const Tensor& from) {
  fail(Exit::crash, fmt::format("gradients do not travel from {} to {}", to_string(from), to_string(to)));
}

bool is(const Tensor& to, DType a, const Tensor& from, DType b) { return to.dtype == a && from.dtype == b; }

}  // namespace

void wire_convert(const Tensor& to, const Tensor& from) {
  expect(to.numel() == from.numel(), "what travels has one length");
  if (is(to, DType::f32, from, DType::f32))
    std::memcpy(to.data, from.data, size_t(to.bytes()));
  else if (is(to, DType::bf16, from, DType::f32))
    each<bf16, float>(to, from, [](bf16, float x) { return x; });
  else if (is(to, DType::f32, from, DType::bf16))
    each<float, bf16>(to, from, [](float, bf16 x) { return float(x); });
  else if (is(to, DType::i64, from, DType::f32))
    each<int64_t, float>(to, from, [](int64_t, float x) { return fixed(x); });
  else if (is(to, DType::f32, from, DType::i64))
    each<float, int64_t>(to, from, [](float, int64_t x) { return float(x) * kUnit; });
  else
    refuse(to, from);
}

void wire_add(const Tensor& to, const Tensor& from) {
  expect(to.numel() == from.numel(), "what is added has one length");
  if (is(to, DType::f32, from, DType::f32))
    each<float, float>(to, from, [](float a, float x) { return a + x; });
  else if (is(to, DType::f32, from, DType::bf16))
    each<float, bf16>(to, from, [](float a, bf16 x) { return a + float(x); });
  else if (is(to, DType::i64, from, DType::i64))
    each<int64_t, int64_t>(to, from, [](int64_t a, int64_t x) { return a + x; });
  else if (is(to, DType::i64, from, DType::f32))
    each<int64_t, float>(to, from, [](int64_t a, float x) { return a + fixed(x); });
  else
    refuse(to, from);
}

WireCheck check_addend(const Tensor& t, double limit) {
  WireCheck found;
  const float* x = data<float>(t);
  const int64_t n = t.numel();
  const float most = float(limit);
  bool all_within = true;
  for (int64_t i = 0; i < n; ++i) all_within &= std::abs(x[i]) < most;  // false for NaN
  for (int64_t i = 0; i < n && !all_within; ++i) {
    if (!std::isfinite(x[i]))
      found.finite = false;
    else if (std::abs(x[i]) >= most && found.too_large < 0)
      found.too_large = i;
  }
  return found;
}

}  // namespace viaduct
