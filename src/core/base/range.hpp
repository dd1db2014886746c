// Half-open ranges of element offsets, and the integer arithmetic that goes with them.
#pragma once
#include <cstdint>

namespace viaduct {

struct Range {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
  bool empty() const { return end <= begin; }
  bool contains(Range r) const { return r.begin >= begin && r.end <= end; }
  bool overlaps(Range r) const { return r.begin < end && begin < r.end; }
  bool operator==(const Range&) const = default;
};

inline int64_t align_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }
inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Part `index` of [0, n) cut into `parts` contiguous pieces whose sizes differ by at most one.
inline Range split_evenly(int64_t n, int64_t index, int64_t parts) {
  return {n * index / parts, n * (index + 1) / parts};
}

}  // namespace viaduct
