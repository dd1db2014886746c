// The process's choice of algorithms for its matrix products, and the plans that carry them out.
#pragma once
#include <map>
#include <mutex>
#include <string>

#include "core/ops/cuda/product_plan.hpp"
#include "core/tensor/tensor.hpp"

namespace viaduct::ops::cuda {

// A product that was not tuned gets the heuristic's first answer. May be used by several threads.
class ProductChoice {
 public:
  static ProductChoice& of_process();

  void record(const ProductKey&);
  void forget_recorded();
  std::vector<ProductKey> without_algorithm();
  void choose(const ProductKey&, const ProductAlgorithm&);
  void forget(const ProductKey&);
  std::optional<ProductAlgorithm> find(const ProductKey&);
  std::string text(const std::string& library);
  bool load(const std::string& text, const std::string& library);

  // Whether the key's epilogue is part of its product. Where that was not measured, sums of rows are not: few
  // algorithms have them.
  bool fuses(int device, const ProductKey&);
  // False where cuBLASLt refuses the product; a warning has been said then.
  bool run(int device, const ProductKey&, const ProductOperands&, cudaStream_t);

 private:
  struct Planned {
    ProductPlan plan;
    std::optional<cublasLtMatmulAlgo_t> algorithm;  // none: refused
  };
  Planned& planned(int device, const ProductKey&);

  std::mutex mutex_;
  ProductAlgorithms algorithms_;
  std::map<std::pair<int, ProductKey>, Planned> planned_;
};

}  // namespace viaduct::ops::cuda
