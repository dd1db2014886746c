#include "core/ops/cuda/product_plan.hpp"

namespace viaduct::ops::cuda {
namespace {

cudaDataType_t type_of(DType t) { return t == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

// Sums in fp32 and, of fp32 operands, products too: TF32 would not be what the CPU computes.
constexpr cublasComputeType_t kCompute = CUBLAS_COMPUTE_32F;
constexpr cudaDataType_t kScale = CUDA_R_32F;

cublasLtEpilogue_t epilogue_of(const ProductKey& key) {
  switch (key.epilogue) {
    case Epilogue::none:
      return key.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    case Epilogue::gelu:
      return key.bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
    case Epilogue::gelu_pre:
      return key.bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
    case Epilogue::gelu_slope:
      return CUBLASLT_EPILOGUE_DGELU;
    case Epilogue::left_sums:  // `left` is their B
      break;
  }
  return CUBLASLT_EPILOGUE_BGRADB;
}

bool has_row(const ProductKey& key) { return key.bias || key.epilogue == Epilogue::left_sums; }
bool has_pre(const ProductKey& key) {
  return key.epilogue == Epilogue::gelu_pre || key.epilogue == Epilogue::gelu_slope;
}

// An address of that alignment and no better: the heuristics look at nothing else of a pointer.
void* any_address(int alignment) { return reinterpret_cast<void*>(uintptr_t(4096 + alignment)); }

template <class T>
void set(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute, T value) {
  check(cublaslt().operation_set(operation, attribute, &value, sizeof value), "describe a product");
}
template <class T>
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, T value) {
  check(cublaslt().preference_set(preference, attribute, &value, sizeof value), "be told what algorithms to look for");
}

// Calls f(attribute, value, type of the attribute) for all but the id, with which an algorithm is made.
template <class Algorithm, class F>
void visit_attributes(Algorithm& a, F f) {
  f(CUBLASLT_ALGO_CONFIG_TILE_ID, a.tile, uint32_t());
  f(CUBLASLT_ALGO_CONFIG_STAGES_ID, a.stages, uint32_t());
  f(CUBLASLT_ALGO_CONFIG_SPLITK_NUM, a.split_k, int32_t());
  f(CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, a.reduction, uint32_t());
  f(CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, a.swizzle, uint32_t());
  f(CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION, a.custom, uint32_t());
  f(CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID, a.inner_shape, uint16_t());
  f(CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, a.cluster_shape, uint16_t());
}

cublasLtMatmulDesc_t new_operation() {
  cublasLtMatmulDesc_t operation = nullptr;
  check(cublaslt().operation_create(&operation, kCompute, kScale), "describe a product");
  return operation;
}
cublasLtMatrixLayout_t new_layout(DType type, int64_t rows, int64_t columns) {
  cublasLtMatrixLayout_t layout = nullptr;
  check(cublaslt().layout_create(&layout, type_of(type), uint64_t(rows), uint64_t(columns), rows),
        fmt::format("describe a matrix [{}, {}]", columns, rows));
  return layout;
}
// Their [rows, columns], or its transpose where that is what is stored.
cublasLtMatrixLayout_t new_layout(DType type, int64_t rows, int64_t columns, bool transposed) {
  return transposed ? new_layout(type, columns, rows) : new_layout(type, rows, columns);
}

}  // namespace

ProductPlan::ProductPlan(int device, const ProductKey& key)
    : key_(key),
      handle_(cublaslt_handle(device)),
      operation_(new_operation(), cublaslt().operation_destroy),
      a_(new_layout(key.operands, key.columns, key.depth, key.right_transposed), cublaslt().layout_destroy),
      b_(new_layout(key.operands, key.depth, key.rows, key.left_transposed), cublaslt().layout_destroy),
      d_(new_layout(key.result, key.columns, key.rows), cublaslt().layout_destroy) {
  cublasLtMatmulDesc_t op = operation_.get();
  set(op, CUBLASLT_MATMUL_DESC_TRANSA, int32_t(key.right_transposed ? CUBLAS_OP_T : CUBLAS_OP_N));
  set(op, CUBLASLT_MATMUL_DESC_TRANSB, int32_t(key.left_transposed ? CUBLAS_OP_T : CUBLAS_OP_N));
  set(op, CUBLASLT_MATMUL_DESC_EPILOGUE, uint32_t(epilogue_of(key)));
  if (has_row(key)) {
    set(op, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, int32_t(type_of(key.result)));
    set(op, CUBLASLT_MATMUL_DESC_BIAS_POINTER, any_address(16));
  }
  if (has_pre(key)) {
    set(op, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, key.columns);
    set(op, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, any_address(key.alignment));
  }
}

std::vector<cublasLtMatmulAlgo_t> ProductPlan::heuristics(int most) const {
  const CublasLt& lt = cublaslt();
  cublasLtMatmulPreference_t made = nullptr;
  check(lt.preference_create(&made), "be told what algorithms to look for");
  Owned<cublasLtMatmulPreference_t> preference(made, lt.preference_destroy);
  set(made, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t(kProductWorkspace));
  set(made, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  for (auto operand : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                       CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    set(made, operand, uint32_t(key_.alignment));
  std::vector<cublasLtMatmulHeuristicResult_t> results{size_t(most)};
  int found = 0;
  cublasStatus_t status = lt.heuristic(handle_, operation_.get(), a_.get(), b_.get(), d_.get(), d_.get(), made, most,
                                       results.data(), &found);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) return {};
  check(status, "look for algorithms of the product " + describe(key_));
  std::vector<cublasLtMatmulAlgo_t> algorithms;
  for (int i = 0; i < found; ++i)
    if (results[size_t(i)].state == CUBLAS_STATUS_SUCCESS) algorithms.push_back(results[size_t(i)].algo);
  return algorithms;
}

std::optional<cublasLtMatmulAlgo_t> ProductPlan::build(const ProductAlgorithm& wanted) const {
  const CublasLt& lt = cublaslt();
  cudaDataType_t in = type_of(key_.operands), out = type_of(key_.result);
  cublasLtMatmulAlgo_t made{};
  if (lt.algorithm_init(handle_, kCompute, kScale, in, in, out, out, int(wanted.id), &made) != CUBLAS_STATUS_SUCCESS)
    return {};
  bool ok = true;
  visit_attributes(wanted, [&](cublasLtMatmulAlgoConfigAttributes_t attribute, int64_t value, auto typed) {
    typed = decltype(typed)(value);
    ok &= lt.algorithm_set(&made, attribute, &typed, sizeof typed) == CUBLAS_STATUS_SUCCESS;
  });
  cublasLtMatmulHeuristicResult_t result{};
  ok = ok && lt.algorithm_check(handle_, operation_.get(), a_.get(), b_.get(), d_.get(), d_.get(), &made, &result) ==
                 CUBLAS_STATUS_SUCCESS;
  return ok && result.workspaceSize <= size_t(kProductWorkspace) ? std::optional(made) : std::nullopt;
}

ProductAlgorithm ProductPlan::attributes(const cublasLtMatmulAlgo_t& algorithm) {
  ProductAlgorithm found;
  auto get = [&](cublasLtMatmulAlgoConfigAttributes_t attribute, int64_t& value, auto typed) {
    size_t written = 0;
    check(cublaslt().algorithm_get(&algorithm, attribute, &typed, sizeof typed, &written), "describe an algorithm");
    value = typed;
  };
  get(CUBLASLT_ALGO_CONFIG_ID, found.id, int32_t());
  visit_attributes(found, get);
  return found;
}

void ProductPlan::run(const ProductOperands& o, const cublasLtMatmulAlgo_t& algorithm, cudaStream_t stream) {
  cublasLtMatmulDesc_t op = operation_.get();
  if (has_row(key_)) set(op, CUBLASLT_MATMUL_DESC_BIAS_POINTER, o.row);
  if (has_pre(key_)) set(op, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, o.pre);
  float alpha = 1, beta = key_.added ? 1 : 0;
  const void* c = key_.added ? o.added : o.d;
  check(cublaslt().matmul(handle_, op, &alpha, o.right, a_.get(), o.left, b_.get(), &beta, c, d_.get(), o.d, d_.get(),
                          &algorithm, o.workspace, size_t(kProductWorkspace), stream),
        "compute the product " + describe(key_));
}

std::string describe(const ProductKey& key) {
  auto matrix = [](int64_t rows, int64_t columns, bool transposed) {
    return transposed ? fmt::format("[{}, {}]^T", columns, rows) : fmt::format("[{}, {}]", rows, columns);
  };
  constexpr const char* epilogues[] = {"", ", gelu", ", gelu with its input", ", times the slope of gelu",
                                       ", with sums of rows"};
  return fmt::format("{} {} x {} to {}{}{}{}, aligned to {} bytes", name_of(key.operands),
                     matrix(key.rows, key.depth, key.left_transposed),
                     matrix(key.depth, key.columns, key.right_transposed), name_of(key.result),
                     key.added ? ", added to a matrix" : "", key.bias ? ", with a bias" : "",
                     epilogues[int(key.epilogue)], key.alignment);
}

}  // namespace viaduct::ops::cuda
