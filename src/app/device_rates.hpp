// What a device reaches at best, measured: what everything else on it is compared with.
#pragma once
#include "core/tensor/tensor.hpp"

namespace viaduct::app {

struct DeviceRates {
  double copy = 0;      // bytes a second of a large copy on the device, read and written counted
  double products = 0;  // floating-point operations a second of matrix products
  int64_t side = 0;     // of their matrices; 0: of the CPU, where several shapes were tried
};
// On a GPU ops::linear of random [side, side] matrices of `dtype`, and a copy of 16 side^2 bytes; the side is 8192, or
// smaller where memory is short or a smaller product takes a millisecond already, as on a device that is not real. On
// the CPU the rates of host_info.hpp.
DeviceRates measure_rates(Device, DType);

// 8192, or half of it, and so on, until the copy's memory fits into three quarters of the GPU's that is free.
int64_t side_that_fits(int64_t free_bytes);

}  // namespace viaduct::app
