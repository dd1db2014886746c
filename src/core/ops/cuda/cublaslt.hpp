// cuBLASLt, loaded when it is first used: it is half a gigabyte, and a program that computes on the CPU needs none of
// it.
#pragma once
#include <cublasLt.h>

#include <source_location>
#include <string>

#include "core/base/check.hpp"

namespace viaduct::ops::cuda {

// Its functions, of the program itself where that has them, else of libcublasLt.so.13 or .12 where the loader finds it.
struct CublasLt {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtGetVersion) version;
  decltype(&cublasLtGetStatusName) status_name;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
  decltype(&cublasLtMatmulAlgoInit) algorithm_init;
  decltype(&cublasLtMatmulAlgoCheck) algorithm_check;
  decltype(&cublasLtMatmulAlgoConfigSetAttribute) algorithm_set;
  decltype(&cublasLtMatmulAlgoConfigGetAttribute) algorithm_get;
  decltype(&cublasLtMatmulDescCreate) operation_create;
  decltype(&cublasLtMatmulDescDestroy) operation_destroy;
  decltype(&cublasLtMatmulDescSetAttribute) operation_set;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
};
const CublasLt& cublaslt();  // throws a sentence that says what to install where there is none

// The process's one handle for that device. It is made on first use, which must lie outside the capture of a graph, and
// never destroyed: at the end of a program the driver may be gone first.
cublasLtHandle_t cublaslt_handle(int device);

// `what` was done, as in "cuBLASLt could not {what}".
void check(cublasStatus_t, const std::string& what, std::source_location = std::source_location::current());

}  // namespace viaduct::ops::cuda
