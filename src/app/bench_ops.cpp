#include "app/bench_ops.hpp"

#include <algorithm>

#include "app/device_rates.hpp"
#include "train/device_choice.hpp"

namespace viaduct::app {
namespace {

constexpr int64_t kBatchSize = 64;

BenchRow row_of(const MeasuredOp& op, const StepTimes& times, const DeviceRates& roof) {
  const double least = std::max(op.bytes() / roof.copy, op.flops / roof.products);
  return {.settings = {{"op", op.name}, {"shape", op.shape}},
          .values = {{"seconds", times.median},
                     {"best_seconds", times.best},
                     {"bytes", op.bytes()},
                     {"flops", op.flops},
                     {"bytes_per_second", op.bytes() / times.median},
                     {"flops_per_second", op.flops / times.median},
                     {"roof_share", least / times.median}}};
}

}  // namespace

int64_t op_batch_size(const Config& config) {
  return config.origins.contains("train.batch_size") ? config.train.batch_size : kBatchSize;
}

DType op_dtype(const Config& config) { return config.train.precision == "bf16" ? DType::bf16 : DType::f32; }

VitShape vit_shape(const Invocation& call) {
  const ModelSource source = resolve_model(call.config, {});
  if (!source.choice.classifies())
    fail_config("this benchmark takes its sizes from a ViT; leave model.arch = bridgetower out");
  return {vit(source.config), task_maker(source, call.config, 1)()->parameters().count()};
}

std::string dims(const Shape& shape) {
  std::string text;
  for (int i = 0; i < shape.rank; ++i) text += (i ? "x" : "") + std::to_string(shape[i]);
  return text;
}

BenchResult bench_ops(const Invocation& call, const std::vector<MeasuredOp>& ops) {
  const Config& config = call.config;
  if (call.world.size > 1) fail_config("single ops are measured by one rank; start this benchmark without mpirun");
  const Device device = choose_device(config, call.comm);
  const DeviceRates roof = measure_rates(device, op_dtype(config));
  const OpTiming timing{.dtype = op_dtype(config),
                        .steps = config.bench.steps,
                        .warmup = config.bench.warmup,
                        .graph = config.device.graph};
  std::vector<BenchRow> rows;
  for (const MeasuredOp& op : ops) rows.push_back(row_of(op, time_op(device, op, timing), roof));
  return {{.settings = {{"device", describe(device)}, {"precision", config.train.precision}},
           .values = {{"batch_size", double(op_batch_size(config))},
                      {"copy_bytes_per_second", roof.copy},
                      {"product_flops_per_second", roof.products},
                      {"product_side", double(roof.side)}}},
          std::move(rows)};
}

}  // namespace viaduct::app
