#include "comm/step_tail.hpp"

#include <algorithm>

namespace viaduct {
namespace {

constexpr int kDigitBits = 11;
constexpr int kLossDigits = 12, kCountDigits = 6;  // 132 and 66 bits
static_assert(kLossDigits + 4 * kCountDigits <= ParameterStore::kTailSlot);

using Wide = unsigned __int128;

template <class T>
T* put(T* at, Wide value, int digits) {
  for (int i = 0; i < digits; ++i, value >>= kDigitBits) *at++ = T(uint32_t(value) & ((1u << kDigitBits) - 1));
  return at;
}

// Digits that were summed carry over here; what leaves the top is the wrap-around of two's complement.
template <class T>
__int128 take(const T*& at, int digits) {
  Wide value = 0;
  for (int i = 0; i < digits; ++i) value += Wide(*at++) << (i * kDigitBits);
  return __int128(value);
}

template <class T>
void write(const StepTail& tail, T* at) {
  const bool usable = tail.loss_sum.finite();
  at = put(at, Wide(usable ? tail.loss_sum.units() : 0), kLossDigits);
  for (int64_t count :
       {tail.terms, tail.quarantined, tail.stop, usable ? tail.nonfinite : std::max<int64_t>(1, tail.nonfinite)})
    at = put(at, Wide(__int128(count)), kCountDigits);
}

template <class T>
StepTail read(const T* at) {
  StepTail tail;
  tail.loss_sum = LossSum::of(take(at, kLossDigits));
  for (int64_t* count : {&tail.terms, &tail.quarantined, &tail.stop, &tail.nonfinite})
    *count = int64_t(take(at, kCountDigits));
  return tail;
}

template <class F>
void with_floats(const Tensor& t, F&& f) {
  expect(t.dtype == DType::f32 || t.dtype == DType::f64, "losses and step tails are fp32 or fp64");
  t.dtype == DType::f32 ? f(data<float>(t)) : f(data<double>(t));
}

}  // namespace

void write_tail(const StepTail& tail, Tensor slot) {
  expect(slot.numel() == ParameterStore::kTailSlot, "the step tail has its slot");
  with_floats(slot, [&](auto* at) { write(tail, at); });
}

StepTail read_tail(Tensor slot) {
  expect(slot.numel() == ParameterStore::kTailSlot, "the step tail has its slot");
  StepTail tail;
  with_floats(slot, [&](auto* at) { tail = read(at); });
  return tail;
}

double sum_losses(Tensor losses) {
  double sum = 0;
  with_floats(losses, [&](auto* at) {
    for (int64_t i = 0; i < losses.numel(); ++i) sum += double(at[i]);
  });
  return sum;
}

}  // namespace viaduct
