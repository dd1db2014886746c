// Matrix products as cuBLASLt describes them, between the interface (cublaslt.cpp) and the loops (product.cpp).
#pragma once
#include "cublasLt.h"

struct cublasLtMatmulDescOpaque_t {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  int32_t pointer_mode = CUBLASLT_POINTER_MODE_HOST;
  int32_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N, transpose_c = CUBLAS_OP_N;
  uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  void *bias = nullptr, *aux = nullptr;
  int64_t bias_stride = 0, aux_ld = 0, aux_stride = 0;  // from one batch to the next, in elements
  int32_t bias_type = -1, aux_type = -1;                // -1: that of D
};
struct cublasLtMatrixLayoutOpaque_t {
  uint32_t type;
  uint64_t rows, cols;
  int64_t ld;
  int32_t order = CUBLASLT_ORDER_COL, batches = 1;
  int64_t stride = 0;
};

namespace emulation {

// D = epilogue(alpha op(A) op(B) + beta C): A, B, C and D by columns, op(A) [m, k], op(B) [k, n].
struct Product {
  cublasLtMatmulDescOpaque_t how;
  cublasLtMatrixLayoutOpaque_t a_layout, b_layout, c_layout, d_layout;
  const void *a, *b, *c, *alpha, *beta;
  void* d;
  float alpha_value, beta_value;  // where the pointers are the host's
  int splits;                     // the sum over k is taken in this many parts

  bool has(unsigned epilogue_bits) const { return how.epilogue & epilogue_bits; }
  bool adds_bias() const { return has(CUBLASLT_EPILOGUE_BIAS); }
  bool is_gelu() const { return has(CUBLASLT_EPILOGUE_GELU); }
  bool is_dgelu() const { return has(64); }
  bool has_aux() const { return has(128); }
  bool writes_aux() const { return is_gelu() && has_aux(); }
  bool has_bias_gradient() const { return has(16 | CUBLASLT_EPILOGUE_BGRADA | CUBLASLT_EPILOGUE_BGRADB); }
  int64_t m() const { return int64_t(d_layout.rows); }
  int64_t n() const { return int64_t(d_layout.cols); }
  int64_t k() const { return int64_t(how.transpose_a == CUBLAS_OP_N ? a_layout.cols : a_layout.rows); }
};

inline size_t bytes_of(uint32_t type) { return type == CUDA_R_32F ? 4 : 2; }
void compute(const Product&);

bool shapes_fit(const Product&);
bool is_supported(const Product&);
uint64_t kind_of(const Product&);  // what algorithms and their later use must agree in

// Algorithms differ in the order of their sums and in what they need. Workspace in bytes; it is scribbled over.
struct Algorithm {
  size_t workspace;
  int splits;
};
constexpr Algorithm kAlgorithms[] = {{size_t(1) << 20, 2}, {0, 1}, {size_t(4) << 20, 4}};
constexpr uint64_t kMagic = 0x656d756c61746564;
constexpr uint64_t kTypesOfKind = ~uint64_t(0xffffff);  // all that is known of an algorithm made by its id

struct Split {
  int32_t parts;
  uint32_t reduction;
};
inline Split split_of(const Algorithm& a) {
  return {a.splits, uint32_t(a.splits > 1 ? CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE : CUBLASLT_REDUCTION_SCHEME_NONE)};
}

struct Choice {  // what an algo's words mean
  uint64_t magic, index, kind;
  uint64_t alignment[4];
  Split split;
};
static_assert(sizeof(Choice) == sizeof(cublasLtMatmulAlgo_t));
cublasStatus_t check_choice(const Product&, const Choice&);

}  // namespace emulation
