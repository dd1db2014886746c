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

}  // namespace emulation
