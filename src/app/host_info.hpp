// What this machine is, and the rates that everything else is compared with.
#pragma once
#include <cstdint>
#include <string>

namespace viaduct::app {

std::string cpu_model();                 // as /proc/cpuinfo has it
std::string cpu_features();              // of those that matter to matrix products: "avx2 avx512f amx_bf16"
int64_t free_bytes(const char* folder);  // of its file system; -1: no such folder

// Floating-point operations a second of products y = x W^T on this rank's threads, the best of several shapes and
// repeats; bf16 is 0 where the machine has no fast bf16 products.
struct ProductRate {
  double fp32 = 0, bf16 = 0;
};
ProductRate measure_products();
double measure_copy();  // bytes a second that memcpy moves from one place to another, all threads of this rank

}  // namespace viaduct::app
