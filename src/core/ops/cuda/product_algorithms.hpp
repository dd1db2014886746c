// Which algorithm of cuBLASLt computes which matrix product. There are many for each; the fastest is found by
// measuring, once, and kept as text from then on, so that a clock never changes bits.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/tensor/dtype.hpp"

namespace viaduct::ops::cuda {

// What cuBLASLt may do to a product besides adding a bias, instead of a kernel of ours after it.
enum class Epilogue : uint8_t {
  none,
  gelu,        // d = gelu(d), tanh form
  gelu_pre,    // the same, and d before it is stored too
  gelu_slope,  // d *= gelu'(pre)
  left_sums,   // the sums of the rows of `left` (a bias gradient)
};

// All that determines a product d [rows, columns] = left [rows, depth] right [depth, columns] (+ c) of dense row-major
// matrices; a transposed one is stored as the other's transpose.
struct ProductKey {
  int64_t rows = 0, columns = 0, depth = 0;
  bool left_transposed = false, right_transposed = false;
  DType operands = DType::f32, result = DType::f32;
  bool added = false;  // c is there
  bool bias = false;   // a row is added to every row
  Epilogue epilogue = Epilogue::none;
  int alignment = 16;  // of the addresses of all matrices, in bytes: 2 to 16
  auto operator<=>(const ProductKey&) const = default;
};
std::string to_string(const ProductKey&);  // as it begins a line of the text form

// The attributes by which cuBLASLt builds an algorithm (cublasLtMatmulAlgoConfigAttributes_t), or `apart`: the product
// runs without its epilogue, which a kernel of ours does afterwards.
struct ProductAlgorithm {
  bool apart = false;
  int64_t id = 0, tile = 0, stages = 0, split_k = 1, reduction = 0, swizzle = 0, custom = 0, inner_shape = 0,
          cluster_shape = 0;
  bool operator==(const ProductAlgorithm&) const = default;
};
std::string to_string(const ProductAlgorithm&);

class ProductAlgorithms {
 public:
  void record(const ProductKey& key) { recorded_.insert(key); }  // it will be wanted
  void forget_recorded() { recorded_.clear(); }
  std::vector<ProductKey> without_algorithm() const;  // of the recorded ones
  void choose(const ProductKey&, const ProductAlgorithm&);
  void forget(const ProductKey& key) { chosen_.erase(key); }
  std::optional<ProductAlgorithm> find(const ProductKey&) const;

  // A title that names `library` (device and version of cuBLASLt, one line), then a line a product.
  std::string text(const std::string& library) const;
  // Takes the choices of such a text; false, and nothing taken, where it was written for another library. Throws an
  // input error that quotes the line where it is no such text.
  bool load(const std::string& text, const std::string& library);

 private:
  std::set<ProductKey> recorded_;
  std::map<ProductKey, ProductAlgorithm> chosen_;
};

}  // namespace viaduct::ops::cuda
