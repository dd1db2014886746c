// Matrix products on cuda: what cuBLASLt computes, with what it can do in passing, and kernels of ours for the rest.
#pragma once
#include "core/device/context.hpp"
#include "core/ops/cuda/product_algorithms.hpp"
#include "core/ops/elementwise.hpp"

namespace viaduct::ops::cuda {

// d [rows, columns] = added + left [rows, depth] right [depth, columns] + bias, then what follows. Matrices are dense
// and row-major, the operands of one dtype; a transposed one is stored as its transpose. `added` may be d.
struct Product {
  Tensor d, left, right;
  bool left_transposed = false, right_transposed = false;
  Tensor added{}, bias{};  // bias [columns], of any floating dtype

  // `pre` receives d and d = activation(d), or with `slope` d *= activation'(pre); `pre` has d's dtype.
  Activation activation = Activation::none;
  Tensor pre{};
  bool slope = false;

  Tensor left_sums{};  // [rows] fp32: += the sums of the rows of left, which is transposed
};

// Working memory of a product, a function of its shapes alone; it lives in the arena's open scope.
struct ProductMemory {
  Tensor workspace, row, sums;
};
ProductMemory product_memory(Arena&, const Product&);

// On meta it asks for the same memory and records which product will be wanted. Neither allocates nor waits, so it may
// be captured into a graph once cuBLASLt has been used by the process.
void multiply(Ctx&, const Product&);

ProductKey key_of(const Product&);

// d = added + left right + bias by a simple kernel of ours, correct for any address: for what cuBLASLt refuses.
void multiply_plainly(Ctx&, const Product&);

}  // namespace viaduct::ops::cuda
