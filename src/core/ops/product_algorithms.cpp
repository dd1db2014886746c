#include "core/ops/product_algorithms.hpp"

#include "core/device/cuda/runtime.hpp"
#include "core/ops/cuda/product_tuning.hpp"

namespace viaduct::ops {

void begin_planning_products(Device device) {
  if constexpr (viaduct::cuda::kBuilt)
    if (device.is_cuda()) cuda::begin_planning_products();
}

void tune_products(Device device, double least_flops) {
  if constexpr (viaduct::cuda::kBuilt)
    if (device.is_cuda()) cuda::tune_products(device, least_flops);
}

std::string product_algorithms(Device device) {
  if constexpr (viaduct::cuda::kBuilt)
    if (device.is_cuda()) return cuda::product_algorithms(device);
  return "";
}

bool use_product_algorithms(Device device, const std::string& text) {
  if constexpr (viaduct::cuda::kBuilt)
    if (device.is_cuda()) return cuda::use_product_algorithms(device, text);
  return text.empty();
}

std::string product_library(Device device) {
  if constexpr (viaduct::cuda::kBuilt)
    if (device.is_cuda()) return cuda::product_library(device);
  return "";
}

}  // namespace viaduct::ops
