// Matrix products by oneDNN, behind plain pointers: the only door to that library. All matrices are dense and
// row-major.
#pragma once
#include "core/ops/cpu/matrix_product.hpp"
#include "core/tensor/tensor.hpp"

namespace viaduct::ops::cpu {

// c [m, n] = a [m, k] b [k, n], or c += a b. The bits do not depend on the number of threads.
void product(float* c, int64_t m, int64_t n, int64_t k, Stored<float> a, Stored<float> b, bool accumulate);

// Whether this machine multiplies bf16 faster than fp32 (AMX). If not, the functions below may not be called.
bool has_bf16_products();

// A weight b [k, n] rearranged for bf16 products; the layout does not depend on the other operand.
int64_t packed_bytes(int64_t k, int64_t n);
void pack(void* packed, int64_t k, int64_t n, Stored<bf16> b);

// c [m, n] = a [m, k] b + bias [n] (or nullptr), or c += a b + bias; T is bf16 or float.
template <class T>
void product_packed(T* c, int64_t m, int64_t n, int64_t k, const bf16* a, const void* packed_b, const bf16* bias,
                    bool accumulate);

// c [m, n] += a b
void product_add(float* c, int64_t m, int64_t n, int64_t k, Stored<bf16> a, Stored<bf16> b);

}  // namespace viaduct::ops::cpu
