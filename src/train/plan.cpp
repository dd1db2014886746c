#include "train/plan.hpp"

#include <algorithm>

#include "comm/plan_comm.hpp"
#include "comm/shards.hpp"
#include "core/ops/workspace.hpp"
#include "core/optim/adamw.hpp"
#include "train/batch_upload.hpp"
#include "train/step_numbers.hpp"
#include "train/teacher.hpp"

namespace viaduct {

std::optional<Range> kept_gradients(const StepShape& shape, const ParameterStore& store) {
  if (!divides_gradients(shape.sync.strategy)) return {};
  return optimizer_range(shape.sync.strategy, store.range(), shape.rank, shape.ranks);
}

MemoryPlan plan_memory(const MakeTask& make_task, const StepShape& shape) {
  auto task = make_task();
  ParameterStore& store = task->parameters();
  const Device meta = Device::meta(shape.device);
  store.materialize(meta, shape.dtype, shape.training, allocate_plain, kept_gradients(shape, store));
  if (task->teacher()) task->teacher()->materialize(meta, shape.dtype);
  Workspace work(meta, 0, shape.dtype);
  Batch batch = task->blank_batch(meta, shape.batch_size);
  work.ctx.sample_keys = batch.keys;

  MemoryPlan plan;
  Metrics unused;
  task->evaluate(work.ctx, batch, unused);
  if (!shape.training) {
    auto scope = work.arena.scope("infer");
    task->infer(work.ctx, batch);
  }
  if (shape.training) {
    work.ctx.training = true;
    PlanComm ranks(shape.rank, shape.ranks);
    auto sync = make_grad_sync(shape.sync, store, ranks);
    sync->begin(work.ctx, {}, true, true);
    task->train(work.ctx, batch, *sync);
    AdamW optimizer(store, optimizer_range(shape.sync.strategy, store.range(), shape.rank, shape.ranks),
                    {.average_decay = shape.average_decay});
    plan.optimizer = optimizer.bytes();
    plan.gradients = store.grads().bytes() + sync->bytes();
    if (shape.dtype == DType::bf16) plan.optimizer += store.frozen_range().size() * size_of(DType::f32);
  }
  expect(work.arena.empty(), "a step leaves the arena as it found it");
  plan.parameters = store.values().bytes() + (store.frozen_values() ? store.frozen_values().bytes() : 0);
  plan.packed = work.packed.bytes();
  if (task->teacher()) plan.teacher = task->teacher()->bytes();
  plan.activations = work.arena.peak().bytes;
  plan.kept = work.arena.peak().kept, plan.temporary = work.arena.peak().temp;
  plan.scopes = work.arena.peak().by_scope;
  plan.batches = shape.batches_held * batch.storage->bytes();
  plan.step = BatchUpload::bytes(shape.device, batch);
  if (shape.training && shape.device == Device::Kind::cuda)
    plan.step += StepNumbers::bytes(shape.device) + 2 * ops::step_sum::count * size_of(DType::f64);
  return plan;
}

int64_t largest_where(const std::function<bool(int64_t)>& fits) {
  constexpr int64_t kMost = 1 << 20;
  if (!fits(1)) return 0;
  int64_t low = 1, high = 2;
  while (high <= kMost && fits(high)) low = high, high *= 2;
  while (high - low > 1) {
    int64_t middle = (low + high) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return std::min(low, kMost);
}

int64_t largest_batch(const MakeTask& make_task, StepShape shape, int64_t bytes) {
  return largest_where([&](int64_t batch_size) {
    shape.batch_size = batch_size;
    MemoryPlan plan = plan_memory(make_task, shape);
    return (shape.device == Device::Kind::cuda ? plan.on_device() : plan.total()) <= bytes;
  });
}

}  // namespace viaduct
