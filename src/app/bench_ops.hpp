// Benchmarks of single ops, a row each.
#pragma once
#include "app/op_timing.hpp"

namespace viaduct::app {

// Images of a call: train.batch_size, or 64 where that was not given.
int64_t op_batch_size(const Config&);
DType op_dtype(const Config&);

// The ViT that [model] describes; throws where it describes another model.
struct VitShape {
  VitConfig config;
  int64_t parameters = 0;
};
VitShape vit_shape(const Invocation&);

std::string dims(const Shape&);  // "64x197x768"

// Measures the ops on the device that the config chooses, one rank. A row says seconds, bytes and operations a second,
// and `roof_share`: the seconds that the device needs at least, because it must copy these bytes and multiply this much
// (device_rates.hpp), over the seconds that passed.
BenchResult bench_ops(const Invocation&, const std::vector<MeasuredOp>&);

}  // namespace viaduct::app
