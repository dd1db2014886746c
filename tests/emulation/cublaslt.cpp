// cuBLASLt's interface: descriptors, and which products there are. Narrower than the library where its documentation is
// silent, so that what is refused here may work on a GPU, but not the other way round.
#include "cublaslt.hpp"

#include <algorithm>
#include <cstring>

#include "device.hpp"

struct cublasLtContext {};
struct cublasLtMatmulPreferenceOpaque_t {
  uint64_t workspace = 0;
  uint32_t search = 0, reductions = 7, alignment[4] = {256, 256, 256, 256};  // of A, B, C, D in bytes
};

namespace emulation {

bool shapes_fit(const Product& p) {
  auto rows = [](const cublasLtMatrixLayoutOpaque_t& l, int op) { return op == CUBLAS_OP_N ? l.rows : l.cols; };
  auto cols = [](const cublasLtMatrixLayoutOpaque_t& l, int op) { return op == CUBLAS_OP_N ? l.cols : l.rows; };
  const auto &a = p.a_layout, &b = p.b_layout, &c = p.c_layout, &d = p.d_layout;
  for (const auto* l : {&a, &b, &c, &d})
    if (!l->rows || !l->cols || l->ld < int64_t(l->rows) || l->batches != d.batches || l->batches < 1) return false;
  return rows(a, p.how.transpose_a) == d.rows && cols(b, p.how.transpose_b) == d.cols &&
         cols(a, p.how.transpose_a) == rows(b, p.how.transpose_b) && c.rows == d.rows && c.cols == d.cols;
}

bool is_supported(const Product& p) {
  const auto& how = p.how;
  uint32_t in = p.a_layout.type, out = p.d_layout.type;
  bool types =
      p.b_layout.type == in && p.c_layout.type == out && how.scale == CUDA_R_32F &&
      ((in == CUDA_R_16BF && (out == CUDA_R_16BF || out == CUDA_R_32F)) || (in == CUDA_R_32F && out == CUDA_R_32F));
  bool compute = how.compute == CUBLAS_COMPUTE_32F || how.compute == CUBLAS_COMPUTE_32F_PEDANTIC ||
                 (how.compute == CUBLAS_COMPUTE_32F_FAST_TF32 && in == CUDA_R_32F);
  bool plain = how.transpose_c == CUBLAS_OP_N && how.pointer_mode <= CUBLASLT_POINTER_MODE_DEVICE;
  for (const auto* l : {&p.a_layout, &p.b_layout, &p.c_layout, &p.d_layout}) plain &= l->order == CUBLASLT_ORDER_COL;
  switch (how.epilogue) {
    case CUBLASLT_EPILOGUE_DEFAULT:
    case CUBLASLT_EPILOGUE_RELU:
    case CUBLASLT_EPILOGUE_BIAS:
    case CUBLASLT_EPILOGUE_GELU:
    case CUBLASLT_EPILOGUE_GELU_AUX:
    case CUBLASLT_EPILOGUE_GELU_BIAS:
    case CUBLASLT_EPILOGUE_GELU_AUX_BIAS:
    case CUBLASLT_EPILOGUE_DGELU:
    case CUBLASLT_EPILOGUE_DGELU_BGRAD:
      break;
    case CUBLASLT_EPILOGUE_BGRADA:
      plain &= how.transpose_a == CUBLAS_OP_N;
      break;
    case CUBLASLT_EPILOGUE_BGRADB:
      plain &= how.transpose_b != CUBLAS_OP_N;
      break;
    default:
      return false;
  }
  auto as_out = [&](int32_t type) { return type == -1 || uint32_t(type) == out; };
  bool extras =
      (!(p.adds_bias() || p.has_bias_gradient()) || as_out(how.bias_type)) &&
      (!p.has_aux() || (as_out(how.aux_type) && how.aux_ld % 8 == 0 && how.aux_ld >= p.m() && how.aux_stride % 8 == 0));
  return types && compute && plain && extras;
}

// What algorithms and their later use must agree in.
uint64_t kind_of(const Product& p) {
  const auto& how = p.how;
  return how.epilogue | uint64_t(how.transpose_a) << 16 | uint64_t(how.transpose_b) << 20 |
         uint64_t(p.a_layout.type) << 24 | uint64_t(p.d_layout.type) << 32 | uint64_t(how.compute) << 40;
}

namespace {

template <class Field>
cublasStatus_t assign(Field& field, const void* from, size_t bytes) {
  if (!from || bytes != sizeof(Field)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&field, from, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

// The alignment that the vector loads of an algorithm need: at most 16 bytes, less where columns start at odd places.
uint64_t alignment_needed(const cublasLtMatrixLayoutOpaque_t& l, uint64_t promised) {
  uint64_t needed = std::min<uint64_t>(promised, 16), column = uint64_t(l.ld) * bytes_of(l.type);
  while (column % needed) needed /= 2;
  return needed;
}

void choose(const Product& p, const cublasLtMatmulPreferenceOpaque_t& preference, int requested,
            cublasLtMatmulHeuristicResult_t* results, int* returned) {
  for (uint64_t i = 0; i < std::size(kAlgorithms) && *returned < requested; ++i) {
    if (kAlgorithms[i].workspace > preference.workspace) continue;
    Choice choice{kMagic, i, kind_of(p), {}, split_of(kAlgorithms[i])};
    const cublasLtMatrixLayoutOpaque_t* layouts[] = {&p.a_layout, &p.b_layout, &p.c_layout, &p.d_layout};
    for (int x = 0; x < 4; ++x) choice.alignment[x] = alignment_needed(*layouts[x], preference.alignment[x]);
    cublasLtMatmulHeuristicResult_t r{{}, kAlgorithms[i].workspace, CUBLAS_STATUS_SUCCESS, 1.0f, {}};
    std::memcpy(&r.algo, &choice, sizeof choice);
    results[(*returned)++] = r;
  }
}

bool is_aligned(const void* p, uint64_t bytes) { return reinterpret_cast<uintptr_t>(p) % bytes == 0; }

// Whether the operands are there and lie where the algorithm can read them.
cublasStatus_t check_pointers(const Product& p, const Choice& choice, const void* workspace, size_t workspace_bytes) {
  bool needs_c = p.how.pointer_mode == CUBLASLT_POINTER_MODE_DEVICE || p.beta_value != 0;
  if (!p.a || !p.b || !p.d || (needs_c && !p.c)) return CUBLAS_STATUS_INVALID_VALUE;
  if ((p.adds_bias() || p.has_bias_gradient()) && !p.how.bias) return CUBLAS_STATUS_INVALID_VALUE;
  if (p.has_aux() && !p.how.aux) return CUBLAS_STATUS_INVALID_VALUE;
  if (p.c == p.d && p.c && (p.c_layout.ld != p.d_layout.ld || p.c_layout.stride != p.d_layout.stride))
    return CUBLAS_STATUS_INVALID_VALUE;
  size_t needed = kAlgorithms[choice.index].workspace;
  if (workspace_bytes < needed || (needed && (!workspace || !is_aligned(workspace, 16))))
    return CUBLAS_STATUS_INVALID_VALUE;
  const void* pointers[] = {p.a, p.b, p.c, p.d};
  for (int x = 0; x < 4; ++x)
    if (!is_aligned(pointers[x], choice.alignment[x])) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (p.has_aux() && !is_aligned(p.how.aux, 16)) return CUBLAS_STATUS_NOT_SUPPORTED;
  return CUBLAS_STATUS_SUCCESS;
}

// A GPU would read or write there all the same, and what then happens nobody knows.
void require_device_memory(const Product& p, const void* workspace, size_t workspace_bytes) {
  auto extent = [](const cublasLtMatrixLayoutOpaque_t& l) {
    return (int64_t(l.batches - 1) * l.stride + int64_t(l.cols - 1) * l.ld + int64_t(l.rows)) *
           int64_t(bytes_of(l.type));
  };
  int64_t out = int64_t(bytes_of(p.d_layout.type)), batches = p.d_layout.batches - 1;
  require_on_device(p.a, extent(p.a_layout), "A of cublasLtMatmul");
  require_on_device(p.b, extent(p.b_layout), "B of cublasLtMatmul");
  require_on_device(p.d, extent(p.d_layout), "D of cublasLtMatmul");
  if (p.c && p.beta_value != 0) require_on_device(p.c, extent(p.c_layout), "C of cublasLtMatmul");
  if (p.adds_bias() || p.has_bias_gradient()) {
    int64_t length = p.how.epilogue == CUBLASLT_EPILOGUE_BGRADB ? p.n() : p.m();
    require_on_device(p.how.bias, (batches * p.how.bias_stride + length) * out, "the bias of cublasLtMatmul");
  }
  if (p.has_aux())
    require_on_device(p.how.aux, (batches * p.how.aux_stride + (p.n() - 1) * p.how.aux_ld + p.m()) * out,
                      "the auxiliary matrix of cublasLtMatmul");
  if (workspace_bytes) require_on_device(workspace, int64_t(workspace_bytes), "the workspace of cublasLtMatmul");
}

}  // namespace
}  // namespace emulation

using namespace emulation;

size_t cublasLtGetVersion() { return 130100; }

const char* cublasLtGetStatusName(cublasStatus_t s) {
  switch (s) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_ARCH_MISMATCH:
      return "CUBLAS_STATUS_ARCH_MISMATCH";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown status";
}
const char* cublasLtGetStatusString(cublasStatus_t s) { return cublasLtGetStatusName(s); }

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  if (!handle) return CUBLAS_STATUS_INVALID_VALUE;
  return *handle = new cublasLtContext, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { return delete handle, CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute, cudaDataType_t scale) {
  if (!desc) return CUBLAS_STATUS_INVALID_VALUE;
  return *desc = new cublasLtMatmulDescOpaque_t{compute, scale}, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) { return delete desc, CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t attribute,
                                              const void* from, size_t bytes) {
  if (!d) return CUBLAS_STATUS_INVALID_VALUE;
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE:
      return assign(d->compute, from, bytes);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE:
      return assign(d->scale, from, bytes);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE:
      return assign(d->pointer_mode, from, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return assign(d->transpose_a, from, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return assign(d->transpose_b, from, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSC:
      return assign(d->transpose_c, from, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return assign(d->epilogue, from, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return assign(d->bias, from, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE:
      return assign(d->bias_stride, from, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
      return assign(d->aux, from, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
      return assign(d->aux_ld, from, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE:
      return assign(d->aux_stride, from, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE:
      return assign(d->aux_type, from, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return assign(d->bias_type, from, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t ld) {
  if (!layout) return CUBLAS_STATUS_INVALID_VALUE;
  return *layout = new cublasLtMatrixLayoutOpaque_t{type, rows, cols, ld}, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  return delete layout, CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l, cublasLtMatrixLayoutAttribute_t attribute,
                                                const void* from, size_t bytes) {
  if (!l) return CUBLAS_STATUS_INVALID_VALUE;
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE:
      return assign(l->type, from, bytes);
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
      return assign(l->order, from, bytes);
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
      return assign(l->rows, from, bytes);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
      return assign(l->cols, from, bytes);
    case CUBLASLT_MATRIX_LAYOUT_LD:
      return assign(l->ld, from, bytes);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      return assign(l->batches, from, bytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      return assign(l->stride, from, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  if (!preference) return CUBLAS_STATUS_INVALID_VALUE;
  return *preference = new cublasLtMatmulPreferenceOpaque_t, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) { return delete p, CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* from,
                                                    size_t bytes) {
  if (!p) return CUBLAS_STATUS_INVALID_VALUE;
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_SEARCH_MODE:
      return assign(p->search, from, bytes);
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return assign(p->workspace, from, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return assign(p->reductions, from, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return assign(p->alignment[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], from, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t results[], int* returned) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!desc || !a || !b || !c || !d || !preference || !results || !returned || requested < 1)
    return CUBLAS_STATUS_INVALID_VALUE;
  *returned = 0;
  Product p{*desc, *a, *b, *c, *d, {}, {}, {}, {}, {}, {}, {}, {}, 1};
  if (!shapes_fit(p)) return CUBLAS_STATUS_INVALID_VALUE;
  if (is_supported(p)) choose(p, *preference, requested, results, returned);
  return *returned ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo, void* workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!desc || !alpha || !beta || !a_layout || !b_layout || !c_layout || !d_layout) return CUBLAS_STATUS_INVALID_VALUE;
  Product p{*desc, *a_layout, *b_layout, *c_layout, *d_layout, a, b, c, alpha, beta, d, 0, 0, 1};
  if (desc->pointer_mode == CUBLASLT_POINTER_MODE_HOST)
    p.alpha_value = *static_cast<const float*>(alpha), p.beta_value = *static_cast<const float*>(beta);
  if (!shapes_fit(p)) return CUBLAS_STATUS_INVALID_VALUE;
  if (!is_supported(p)) return CUBLAS_STATUS_NOT_SUPPORTED;
  Choice choice{
      kMagic, 1, kind_of(p), {1, 1, 1, 1}, split_of(kAlgorithms[1])};  // without an algo: one that needs nothing
  if (algo) std::memcpy(&choice, algo, sizeof choice);
  if (auto status = check_choice(p, choice)) return status;
  if (auto s = check_pointers(p, choice, workspace, workspace_bytes)) return s;
  p.splits = kAlgorithms[choice.index].splits;
  size_t scribbled = kAlgorithms[choice.index].workspace;
  require_device_memory(p, workspace, scribbled);
  cudaError_t e = submit(stream, [p, workspace, scribbled] {
    if (scribbled) std::memset(workspace, 0xff, scribbled);
    compute(p);
    check_guards("after cublasLtMatmul");
  });
  return e == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
