// The fastest algorithm of each product, by measuring; what core/ops/product_algorithms.hpp says, on cuda.
#pragma once
#include <string>

#include "core/tensor/tensor.hpp"

namespace viaduct::ops::cuda {

// Measures every product that was planned and has no algorithm yet, and chooses the fastest that gives the same bits
// twice: of the first 8 answers of cuBLASLt's heuristics and, where a product ends in more than a bias, of doing that
// in a kernel afterwards. It makes its own memory, so it runs before the arena of the step exists.
void begin_planning_products();
void tune_products(Device, double least_flops);

std::string product_library(Device);
std::string product_algorithms(Device);
bool use_product_algorithms(Device, const std::string& text);

}  // namespace viaduct::ops::cuda
