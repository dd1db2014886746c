// Which algorithm computes each matrix product of a device. The library there has several for each; the fastest is
// found by measuring and then kept as text, for other ranks, for the next run and for a resumed one: the same text,
// the same bits. On the CPU there is nothing to choose, and the text is empty.
#pragma once
#include <string>

#include "core/tensor/tensor.hpp"

namespace viaduct::ops {

// A step is about to be planned: products that earlier plans asked for are no longer wanted.
void begin_planning_products(Device);

// Measures the products that steps on Device::meta(device.kind) have asked for since then and that have no
// algorithm yet, if they have at least so many operations: below, a product takes as long as its launch, and the
// library's first proposal serves. Takes seconds and memory of the device that it gives back: before the arena of the
// step is made, and outside the capture of a graph.
void tune_products(Device, double least_flops = 5e7);

// All that was chosen, measured or taken, as text: a title that names the device and the library, then a line a
// product.
std::string product_algorithms(Device);

// Takes the choices of such a text. False, and nothing is taken, where it was written for another device or library;
// throws an input error where it is no such text.
bool use_product_algorithms(Device, const std::string& text);

// "NVIDIA H100 80GB HBM3, cuBLASLt 130100": what a kept text is good for; empty on the CPU.
std::string product_library(Device);

}  // namespace viaduct::ops
