#include "core/device/gpus.hpp"

#include "core/device/cuda/runtime.hpp"

namespace viaduct {

bool built_with_cuda() { return cuda::kBuilt; }

int gpu_count(std::string* why) {
  if constexpr (cuda::kBuilt) return cuda::device_count(why);
  if (why) *why = cuda::kNotBuilt;
  return 0;
}

Gpu gpu(int index) {
  if constexpr (cuda::kBuilt) return cuda::device_info(index);
  cuda::fail_not_built();
}

std::string gpu_address(int index) {
  if constexpr (cuda::kBuilt) return cuda::device_address(index);
  cuda::fail_not_built();
}

void use_gpu(int index) {
  if constexpr (cuda::kBuilt)
    cuda::use_device(index);
  else
    cuda::fail_not_built();
}

int64_t gpu_bytes_allocated() {
  if constexpr (cuda::kBuilt) return cuda::allocated_bytes();
  return 0;
}

}  // namespace viaduct
