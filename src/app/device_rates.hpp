// What a device reaches at best, measured: what everything else on it is compared with.
#pragma once
#include "core/tensor/tensor.hpp"

namespace viaduct::app {

struct DeviceRates {
  double copy = 0;      // bytes a second of a large copy on the device, read and written counted
  double products = 0;  // floating-point operations a second of matrix products
};
// On a GPU a copy of 16 side^2 bytes, and ops::linear of random [side, side] matrices of `dtype`; on the CPU those of
// host_info.hpp, whatever the side.
DeviceRates measure_rates(Device, DType, int64_t side);

// `wanted`, or half of it, and so on, until the copy's memory fits into three quarters of the GPU's that is free.
int64_t side_that_fits(int64_t wanted, int64_t free_bytes);
constexpr int64_t kRateSide = 8192;

}  // namespace viaduct::app
