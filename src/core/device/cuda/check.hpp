// CUDA calls that must succeed: check(cudaMalloc(&p, n)).
#pragma once
#include <cuda_runtime.h>

#include <source_location>

namespace viaduct::cuda {

// Throws with the call's own words, its place and, where there is one, a remedy.
void check(cudaError_t, std::source_location where = std::source_location::current());

}  // namespace viaduct::cuda
