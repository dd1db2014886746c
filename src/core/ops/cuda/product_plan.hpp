// One product as cuBLASLt sees it: its descriptors, and the algorithms that it has for it. What is row-major here is
// column-major there, so it is asked for d^T [columns, rows] = right^T left^T.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "core/ops/cuda/cublaslt.hpp"
#include "core/ops/cuda/product_algorithms.hpp"

namespace viaduct::ops::cuda {

// Memory that every product may use, asked for by shape alone: what cuBLASLt recommends for Hopper, and no algorithm
// that needs more is chosen.
constexpr int64_t kProductWorkspace = 32 << 20, kWorkspaceAlignment = 256;

struct ProductOperands {
  const void *left = nullptr, *right = nullptr, *added = nullptr;
  void* d = nullptr;
  void* row = nullptr;  // the bias [columns], or the sums [rows] of `left`; of the result's type, aligned to 16 bytes
  void* pre = nullptr;  // of the gelu epilogues
  void* workspace = nullptr;
};

class ProductPlan {
 public:
  ProductPlan(int device, const ProductKey&);

  // The algorithms that cuBLASLt would try, the one that it holds for fastest first: a function of the key alone. All
  // sum split dot products in fp32, in a fixed order. None where it refuses the product.
  std::vector<cublasLtMatmulAlgo_t> heuristics(int most) const;
  // One by its attributes, and back; none where this library or device does not have it.
  std::optional<cublasLtMatmulAlgo_t> build(const ProductAlgorithm&) const;
  static ProductAlgorithm attributes(const cublasLtMatmulAlgo_t&);

  void run(const ProductOperands&, const cublasLtMatmulAlgo_t&, cudaStream_t);

 private:
  template <class T>
  using Owned = std::unique_ptr<std::remove_pointer_t<T>, cublasStatus_t (*)(T)>;

  ProductKey key_;
  cublasLtHandle_t handle_;
  Owned<cublasLtMatmulDesc_t> operation_;
  Owned<cublasLtMatrixLayout_t> a_, b_, d_;
};

// "bf16 [1576, 768] x [768, 3072] to bf16 with a bias"
std::string describe(const ProductKey&);

}  // namespace viaduct::ops::cuda
