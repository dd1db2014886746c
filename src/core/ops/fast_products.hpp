// What a device multiplies fast.
#pragma once
#include "core/tensor/tensor.hpp"

namespace viaduct::ops {

// Whether bf16 matrices are multiplied faster than fp32 ones. Where not, products of bf16 are computed in fp32.
bool has_fast_bf16_products(Device);

}  // namespace viaduct::ops
