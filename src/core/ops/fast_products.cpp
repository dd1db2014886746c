#include "core/ops/fast_products.hpp"

#include "core/ops/cpu/onednn.hpp"

namespace viaduct::ops {

bool has_fast_bf16_products(Device device) { return device.kind == Device::Kind::cpu && cpu::has_bf16_products(); }

}  // namespace viaduct::ops
