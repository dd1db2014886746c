// Algorithms of cuBLASLt by their attributes: made, described and checked. The id says which of kAlgorithms, the custom
// option which alignments it needs; of the other attributes only those of the split have values other than 0.
#include <cstring>
#include <iterator>

#include "cublaslt.hpp"

namespace emulation {
namespace {

constexpr int kBits = 3;  // of the logarithm of an alignment

uint32_t packed_alignments(const Choice& c) {
  uint32_t packed = 0;
  for (int x = 0; x < 4; ++x) packed |= uint32_t(__builtin_ctzll(c.alignment[x])) << (x * kBits);
  return packed;
}
void set_alignments(Choice& c, uint32_t packed) {
  for (int x = 0; x < 4; ++x) c.alignment[x] = uint64_t(1) << (packed >> (x * kBits) & 7);
}

bool is_short(cublasLtMatmulAlgoConfigAttributes_t a) {
  return a == CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID || a == CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID;
}
size_t bytes_of(cublasLtMatmulAlgoConfigAttributes_t a) { return is_short(a) ? 2 : 4; }

uint32_t value_of(const Choice& c, cublasLtMatmulAlgoConfigAttributes_t attribute) {
  switch (attribute) {
    case CUBLASLT_ALGO_CONFIG_ID:
      return uint32_t(c.index);
    case CUBLASLT_ALGO_CONFIG_SPLITK_NUM:
      return uint32_t(c.split.parts);
    case CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME:
      return c.split.reduction;
    case CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION:
      return packed_alignments(c);
    default:
      return 0;
  }
}

bool is_algorithm(const Choice& c) { return c.magic == kMagic && c.index < std::size(kAlgorithms); }

}  // namespace

cublasStatus_t check_choice(const Product& p, const Choice& c) {
  if (!is_algorithm(c)) return CUBLAS_STATUS_INVALID_VALUE;
  uint64_t kind = kind_of(p);
  bool by_id = !(c.kind & ~kTypesOfKind);
  if (c.kind != (by_id ? kind & kTypesOfKind : kind)) return CUBLAS_STATUS_NOT_SUPPORTED;
  Split split = split_of(kAlgorithms[c.index]);
  bool fits = c.split.parts == split.parts && c.split.reduction == split.reduction;
  return fits ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

}  // namespace emulation

using namespace emulation;

cublasStatus_t cublasLtMatmulAlgoInit(cublasLtHandle_t handle, cublasComputeType_t compute, cudaDataType_t scale,
                                      cudaDataType_t a, cudaDataType_t b, cudaDataType_t c, cudaDataType_t d, int id,
                                      cublasLtMatmulAlgo_t* algo) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!algo || id < 0 || id >= int(std::size(kAlgorithms))) return CUBLAS_STATUS_INVALID_VALUE;
  if (scale != CUDA_R_32F || a != b || c != d) return CUBLAS_STATUS_NOT_SUPPORTED;
  Product typed{};
  typed.how.compute = compute, typed.a_layout.type = a, typed.d_layout.type = d;
  Choice choice{kMagic, uint64_t(id), kind_of(typed) & kTypesOfKind, {1, 1, 1, 1}, split_of({0, 1})};
  std::memcpy(algo, &choice, sizeof choice);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t* algo, cublasLtMatmulHeuristicResult_t* result) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!desc || !a || !b || !c || !d || !algo || !result) return CUBLAS_STATUS_INVALID_VALUE;
  Product p{*desc, *a, *b, *c, *d, {}, {}, {}, {}, {}, {}, {}, {}, 1};
  Choice choice;
  std::memcpy(&choice, algo, sizeof choice);
  if (!shapes_fit(p)) return CUBLAS_STATUS_INVALID_VALUE;
  if (!is_supported(p)) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (auto status = check_choice(p, choice)) return status;
  result->workspaceSize = kAlgorithms[choice.index].workspace, result->wavesCount = 1;
  return result->state = CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t* algo,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute, void* to,
                                                    size_t bytes, size_t* written) {
  if (!algo || !to || bytes != bytes_of(attribute)) return CUBLAS_STATUS_INVALID_VALUE;
  Choice choice;
  std::memcpy(&choice, algo, sizeof choice);
  if (!is_algorithm(choice)) return CUBLAS_STATUS_INVALID_VALUE;
  uint32_t value = value_of(choice, attribute);
  std::memcpy(to, &value, bytes);  // little-endian
  if (written) *written = bytes;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigSetAttribute(cublasLtMatmulAlgo_t* algo,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute, const void* from,
                                                    size_t bytes) {
  if (!algo || !from || bytes != bytes_of(attribute)) return CUBLAS_STATUS_INVALID_VALUE;
  Choice choice;
  std::memcpy(&choice, algo, sizeof choice);
  uint32_t value = 0;
  std::memcpy(&value, from, bytes);
  switch (attribute) {
    case CUBLASLT_ALGO_CONFIG_ID:
      return CUBLAS_STATUS_INVALID_VALUE;  // read-only
    case CUBLASLT_ALGO_CONFIG_SPLITK_NUM:
      choice.split.parts = int32_t(value);
      break;
    case CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME:
      choice.split.reduction = value;
      break;
    case CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION:
      set_alignments(choice, value);
      break;
    default:
      if (value) return CUBLAS_STATUS_INVALID_VALUE;
  }
  std::memcpy(algo, &choice, sizeof choice);
  return CUBLAS_STATUS_SUCCESS;
}
