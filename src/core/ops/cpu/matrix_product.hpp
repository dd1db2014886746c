// Products of fp32 and fp64 matrices, dense and row-major.
#pragma once
#include <functional>

#include "core/base/range.hpp"

namespace viaduct::ops::cpu {

// An operand a [rows, columns] of a product, or its transpose in memory.
template <class T>
struct Stored {
  const T* data;
  bool transposed = false;
};

// What a product is added to: a matrix of its size (which may be the result's own memory), a row for all rows, or both.
template <class T>
struct Start {
  const T* matrix = nullptr;
  const T* row = nullptr;
};

// Called for every part of a product, by the thread that made it while it is in cache.
using Finish = std::function<void(Range rows, Range columns)>;

// c [m, n] = start + a [m, k] b [k, n], then `finish` (or none). The bits of an element of c depend on its row of a, its
// column of b and what it starts from, not on m, n or the number of threads. scratch: product_scratch elements, never
// fewer for a larger m or k, so that a plan for many samples holds few.
template <class T>
void product(T* scratch, T* c, int64_t m, int64_t n, int64_t k, Stored<T> a, Stored<T> b, Start<T> start,
             const Finish& finish = {});
template <class T>
int64_t product_scratch(int64_t m, int64_t n, int64_t k);

}  // namespace viaduct::ops::cpu
