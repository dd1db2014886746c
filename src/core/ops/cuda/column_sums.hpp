// Sums of the columns of a matrix: bias gradients.
#pragma once
#include "core/device/context.hpp"

namespace viaduct::ops::cuda {

// Working memory for the sums of `matrix`, of which the shape alone counts.
Tensor column_sums_memory(Arena&, const Tensor& matrix);
// sums [columns] fp32 += the sums of the rows of matrix [.., columns], in an order that the shape alone decides.
void add_column_sums(Ctx&, Tensor sums, Tensor matrix, Tensor memory);

}  // namespace viaduct::ops::cuda
