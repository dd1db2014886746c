#include "core/ops/cuda/cublaslt.hpp"

#include <dlfcn.h>

#include <map>
#include <mutex>

#include "core/device/cuda/runtime.hpp"

namespace viaduct::ops::cuda {
namespace {

void* open_library() {
  if (dlsym(RTLD_DEFAULT, "cublasLtMatmul")) return RTLD_DEFAULT;
  for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "/usr/local/cuda/lib64/libcublasLt.so"})
    if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
  const char* why = dlerror();
  fail(Exit::config, fmt::format("matrix products on a GPU need cuBLASLt, and libcublasLt.so.13 (or .12) cannot be "
                                 "loaded: {}; install the CUDA toolkit's libcublas, or name its folder in "
                                 "LD_LIBRARY_PATH",
                                 why ? why : "no reason was given"));
}

template <class F>
void look_up(void* library, const char* name, F*& function) {
  function = reinterpret_cast<F*>(dlsym(library, name));
  if (!function)
    fail(Exit::config,
         fmt::format("the cuBLASLt that was found has no function {}; install version 12 or newer", name));
}

CublasLt load() {
  void* library = open_library();
  CublasLt lt{};
  look_up(library, "cublasLtCreate", lt.create);
  look_up(library, "cublasLtGetVersion", lt.version);
  look_up(library, "cublasLtGetStatusName", lt.status_name);
  look_up(library, "cublasLtMatmul", lt.matmul);
  look_up(library, "cublasLtMatmulAlgoGetHeuristic", lt.heuristic);
  look_up(library, "cublasLtMatmulAlgoInit", lt.algorithm_init);
  look_up(library, "cublasLtMatmulAlgoCheck", lt.algorithm_check);
  look_up(library, "cublasLtMatmulAlgoConfigSetAttribute", lt.algorithm_set);
  look_up(library, "cublasLtMatmulAlgoConfigGetAttribute", lt.algorithm_get);
  look_up(library, "cublasLtMatmulDescCreate", lt.operation_create);
  look_up(library, "cublasLtMatmulDescDestroy", lt.operation_destroy);
  look_up(library, "cublasLtMatmulDescSetAttribute", lt.operation_set);
  look_up(library, "cublasLtMatrixLayoutCreate", lt.layout_create);
  look_up(library, "cublasLtMatrixLayoutDestroy", lt.layout_destroy);
  look_up(library, "cublasLtMatmulPreferenceCreate", lt.preference_create);
  look_up(library, "cublasLtMatmulPreferenceDestroy", lt.preference_destroy);
  look_up(library, "cublasLtMatmulPreferenceSetAttribute", lt.preference_set);
  return lt;
}

}  // namespace

const CublasLt& cublaslt() {
  static const CublasLt lt = load();
  return lt;
}

cublasLtHandle_t cublaslt_handle(int device) {
  static std::mutex mutex;
  static std::map<int, cublasLtHandle_t> handles;
  std::lock_guard lock(mutex);
  cublasLtHandle_t& handle = handles[device];
  if (handle) return handle;
  viaduct::cuda::use_device(device);
  check(cublaslt().create(&handle), fmt::format("be started on GPU {}", device));
  return handle;
}

void check(cublasStatus_t status, const std::string& what, std::source_location where) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  fail(Exit::crash, fmt::format("cuBLASLt could not {}: {}", what, cublaslt().status_name(status)), where);
}

}  // namespace viaduct::ops::cuda
