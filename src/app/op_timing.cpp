#include "app/op_timing.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "core/base/philox.hpp"
#include "core/base/range.hpp"
#include "core/device/device_timer.hpp"
#include "core/device/gpus.hpp"
#include "core/device/replay.hpp"
#include "core/ops/product_algorithms.hpp"
#include "core/ops/workspace.hpp"

namespace viaduct::app {
namespace {

constexpr int64_t kMostSets = 16, kMostCalls = 256;  // of operands; in a round
constexpr int64_t kAlignment = 256;                  // as cudaMalloc gives it
constexpr int64_t kDrawn = 1 << 20;                  // random elements, which then repeat
constexpr int64_t kUnknownCache = 64 << 20;          // taken for the last cache of a processor that does not say

int64_t last_cache(Device device) {
  if (device.is_cuda()) return gpu(device.index).l2_bytes;
  const int64_t bytes = ::sysconf(_SC_LEVEL3_CACHE_SIZE);
  return bytes > 0 ? bytes : kUnknownCache;
}

void draw(Tensor host, const OpOperand& o, RandomSequence& random) {
  for (int64_t i = 0; i < host.numel(); ++i) {
    const double x = o.low == o.high ? o.low : random.uniform(o.low, o.high);
    switch (host.dtype) {
      case DType::f32:
        data<float>(host)[i] = float(x);
        break;
      case DType::bf16:
        data<bf16>(host)[i] = float(x);
        break;
      case DType::f64:
        data<double>(host)[i] = x;
        break;
      case DType::i32:
        data<int32_t>(host)[i] = int32_t(std::floor(x));
        break;
      case DType::i64:
        data<int64_t>(host)[i] = int64_t(std::floor(x));
        break;
      case DType::u8:
        data<uint8_t>(host)[i] = uint8_t(x);
        break;
    }
  }
}

void fill(Tensor t, const OpOperand& o, RandomSequence& random, Stream& stream) {
  const Tensor flat = t.reshape({t.numel()});
  Buffer host(Device::cpu(), std::min(kDrawn, t.numel()) * size_of(t.dtype));
  const Tensor drawn = host.view(0, {std::min(kDrawn, t.numel())}, t.dtype);
  draw(drawn, o, random);
  for (int64_t at = 0; at < t.numel(); at += kDrawn) {
    const int64_t n = std::min(kDrawn, t.numel() - at);
    transfer(flat.slice(at, at + n), drawn.slice(0, n), stream);
  }
  stream.synchronize();
}

int64_t bytes_of(const OpOperand& o) { return o.shape.numel() * size_of(o.dtype); }

// The operands of a call, several times over.
class OperandSets {
 public:
  OperandSets(Device device, const MeasuredOp& op, Stream& stream) {
    int64_t bytes = 0;
    for (const OpOperand& o : op.operands) bytes += align_up(bytes_of(o), kAlignment);
    const int64_t count = std::clamp<int64_t>(ceil_div(2 * last_cache(device), bytes), 1, kMostSets);
    memory_ = Buffer(device, count * bytes);
    sets_.resize(size_t(count));
    RandomSequence random(1, Draw::init);
    int64_t at = 0;
    for (std::vector<Tensor>& set : sets_)
      for (size_t i = 0; i < op.operands.size(); at += align_up(bytes_of(op.operands[i]), kAlignment), ++i) {
        set.push_back(memory_.view(at, op.operands[i].shape, op.operands[i].dtype));
        if (&set == &sets_[0])
          fill(set[i], op.operands[i], random, stream);
        else
          transfer(set[i], sets_[0][i], stream);
      }
    stream.synchronize();
  }
  int64_t count() const { return int64_t(sets_.size()); }
  const std::vector<Tensor>& operator[](int64_t set) const { return sets_[size_t(set)]; }

 private:
  Buffer memory_;
  std::vector<std::vector<Tensor>> sets_;
};

// Working memory of a call. Products of a call on meta are those that can be tuned.
int64_t plan(Device device, const MeasuredOp& op, DType dtype) {
  Workspace planned(Device::meta(device.kind), 0, dtype);
  planned.ctx.training = true;
  std::vector<Tensor> operands;
  for (const OpOperand& o : op.operands) operands.push_back({nullptr, o.shape, o.dtype, planned.ctx.device()});
  auto scope = planned.arena.scope("op");
  op.run(planned.ctx, operands);
  return planned.arena.peak().bytes;
}

}  // namespace

double MeasuredOp::bytes() const {
  int64_t sum = 0;
  for (const OpOperand& o : operands) sum += bytes_of(o) * (o.updated ? 2 : 1);
  return double(sum);
}

StepTimes time_op(Device device, const MeasuredOp& op, const OpTiming& timing) {
  const int64_t working_bytes = plan(device, op, timing.dtype);
  ops::tune_products(device);
  Workspace work(device, working_bytes, timing.dtype);
  work.ctx.training = true;
  OperandSets sets(device, op, work.stream);
  DeviceTimer timer(work.stream);
  auto seconds_of = [&](auto&& f) {
    timer.start(), f(), timer.stop();
    return timer.seconds();
  };
  auto call = [&](int64_t times) {
    for (int64_t i = 0; i < times; ++i) {
      auto scope = work.arena.scope("op");
      op.run(work.ctx, sets[i % sets.count()]);
    }
  };
  call(sets.count());  // what is loaded, packed or chosen on first use
  const double turn = seconds_of([&] { call(sets.count()); });
  const double turns = std::min(timing.round_seconds / std::max(turn, 1e-9), double(kMostCalls / sets.count()));
  const int64_t calls = std::max<int64_t>(1, int64_t(std::ceil(turns))) * sets.count();

  Replay replay(timing.graph);
  std::vector<double> seconds;
  for (int64_t round = -timing.warmup - 2; round < timing.steps; ++round) {  // two until a graph has been recorded
    const double s = seconds_of([&] { replay.run("round", work.stream, [&] { call(calls); }); });
    if (round >= 0) seconds.push_back(s / double(calls));
  }
  return step_times(std::move(seconds));
}

}  // namespace viaduct::app
