#include "comm/direct_reduce.hpp"

#include <algorithm>
#include <exception>
#include <memory>

namespace viaduct {
namespace {

template <Reduce op, class A>
A combine(A a, A b) {
  if constexpr (op == Reduce::sum) return a + b;
  if constexpr (op == Reduce::max) return b > a || b != b ? b : a;  // NaN wins: it must not get lost
  if constexpr (op == Reduce::min) return b < a || b != b ? b : a;
}

template <class T>
struct accumulator {
  using type = T;
};
template <>
struct accumulator<bf16> {
  using type = float;
};

constexpr int64_t kBlock = 4096;  // elements: accumulators, one source and one target stay in the first-level cache

template <Reduce op, class T>
void reduce_blocks(const std::vector<const void*>& sources, const std::vector<void*>& targets, Range part) {
  using A = typename accumulator<T>::type;
  A sum[kBlock];
  for (int64_t begin = part.begin; begin < part.end; begin += kBlock) {
    const int64_t n = std::min(kBlock, part.end - begin);
    const T* first = static_cast<const T*>(sources[0]) + begin;
    for (int64_t i = 0; i < n; ++i) sum[i] = A(first[i]);
    for (size_t r = 1; r < sources.size(); ++r) {
      const T* next = static_cast<const T*>(sources[r]) + begin;
      for (int64_t i = 0; i < n; ++i) sum[i] = combine<op, A>(sum[i], A(next[i]));
    }
    for (void* target : targets) {
      T* to = static_cast<T*>(target) + begin;
      for (int64_t i = 0; i < n; ++i) to[i] = T(sum[i]);
    }
  }
}

template <class T>
void reduce_by(Reduce op, const std::vector<const void*>& sources, const std::vector<void*>& targets, Range part) {
  switch (op) {
    case Reduce::sum:
      return reduce_blocks<Reduce::sum, T>(sources, targets, part);
    case Reduce::max:
      return reduce_blocks<Reduce::max, T>(sources, targets, part);
    case Reduce::min:
      return reduce_blocks<Reduce::min, T>(sources, targets, part);
  }
}

}  // namespace

void direct_reduce(const std::vector<const void*>& sources, const std::vector<void*>& targets, DType dtype, Reduce op,
                   Range part) {
  if (part.empty()) return;
  switch (dtype) {
    case DType::f32:
      return reduce_by<float>(op, sources, targets, part);
    case DType::bf16:
      return reduce_by<bf16>(op, sources, targets, part);
    case DType::f64:
      return reduce_by<double>(op, sources, targets, part);
    case DType::i32:
      return reduce_by<int32_t>(op, sources, targets, part);
    case DType::i64:
      return reduce_by<int64_t>(op, sources, targets, part);
    case DType::u8:
      return reduce_by<uint8_t>(op, sources, targets, part);
  }
}

void direct_gather(const Tensor& to, const std::vector<const void*>& sources, const std::vector<Range>& parts,
                   int rank) {
  const int64_t bytes = size_of(to.dtype);
  for (size_t r = 0; r < parts.size(); ++r) {
    if (int(r) == rank || parts[r].empty()) continue;
    const auto* from = static_cast<const std::byte*>(sources[r]) + parts[r].begin * bytes;
    std::copy_n(from, parts[r].size() * bytes, static_cast<std::byte*>(to.data) + parts[r].begin * bytes);
  }
}

Range reduce_part(int64_t n, int index, int ranks) {
  constexpr int64_t kLine = 64;  // elements; at least one cache line for every dtype
  Range lines = split_evenly(ceil_div(n, kLine), index, ranks);
  return {std::min(n, lines.begin * kLine), std::min(n, lines.end * kLine)};
}

Buffer allocate_for_peers(Device device, int64_t bytes) {
  auto owner = std::make_unique<Buffer>(device, bytes);
  void* data = owner->data();
  return Buffer(device, data, bytes, [owner = owner.release()] {
    if (!std::uncaught_exceptions()) delete owner;
  });
}

}  // namespace viaduct
