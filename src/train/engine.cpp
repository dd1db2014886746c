#include "train/engine.hpp"

#include <algorithm>

#include "comm/shards.hpp"
#include "core/base/log.hpp"
#include "core/device/gpus.hpp"
#include "core/ops/elementwise.hpp"
#include "core/ops/product_algorithms.hpp"
#include "models/hf_weights.hpp"
#include "train/classification.hpp"
#include "train/device_choice.hpp"
#include "train/distillation.hpp"
#include "train/host_memory.hpp"
#include "train/image_text.hpp"
#include "train/learning_rate.hpp"
#include "train/product_choice.hpp"
#include "train/step_cut.hpp"

namespace viaduct {
namespace {

std::string gib(int64_t bytes) { return fmt::format("{:.2f} GiB", double(bytes) / (1 << 30)); }

}  // namespace

int64_t ranks_of_this_host(Communicator& comm) {
  const std::string& mine = log::identity().host;
  auto hosts = comm.all_gather_text(mine);
  return std::count(hosts.begin(), hosts.end(), mine);
}

MakeTask task_maker(const ModelSource& source, const Config& config, int64_t ranks, Communicator* comm) {
  if (source.teacher) return student_maker(source, config);
  if (!is_bridgetower(source.config))
    return [config = vit(source.config), normalization = source.normalization(), recompute = config.train.recompute,
            smoothing = config.augment.label_smoothing, mixes = mix_options(config).on()]() -> std::unique_ptr<Task> {
      return std::make_unique<ClassificationTask>(config, normalization, VitOptions{recompute}, smoothing, mixes);
    };
  ImageTextOptions options{.choice = source.choice,
                           .frozen = frozen_towers(config),
                           .recompute = config.train.recompute,
                           .global_negatives = config.task.negatives == "global",
                           .hard_negatives = config.task.itm_negatives == "hard",
                           .text_tokens = source.text_tokens,
                           .batch_size = step_cut(config).samples,
                           .normalization = source.normalization()};
  return [config = bridgetower(source.config), options, ranks, comm]() -> std::unique_ptr<Task> {
    return std::make_unique<ImageTextTask>(config, options, comm, ranks);
  };
}

StepShape step_shape(const Config& config, const TaskChoice& choice, Device::Kind device, bool training, int rank,
                     int ranks) {
  bool evaluates_too = training && !config.data.eval.empty() && config.train.eval_every >= 0;
  return {.batch_size = step_cut(config).samples,
          .dtype = config.train.precision == "bf16" ? DType::bf16 : DType::f32,
          .device = device,
          .training = training,
          .batches_held = batches_held(loader_workers(config)) * (evaluates_too ? 2 : 1),
          .sync = grad_sync_options(config, choice, ranks),
          .rank = rank,
          .ranks = ranks,
          .average_decay = config.average.decay};
}

std::string plan_text(const MemoryPlan& p) {
  std::string text = fmt::format("{} a rank: parameters {}", gib(p.total()), gib(p.parameters));
  if (p.gradients) text += fmt::format(", gradients {}, optimizer {}", gib(p.gradients), gib(p.optimizer));
  if (p.teacher) text += fmt::format(", teacher {}", gib(p.teacher));
  if (p.packed) text += fmt::format(", packed weights {}", gib(p.packed));
  return text + fmt::format(", activations {}, batches {}", gib(p.activations), gib(p.batches));
}

Engine::Engine(const ModelSource& source, const Config& config, bool training, Communicator& comm,
               const std::string& products)
    : source_(source),
      comm_(comm),
      device_(choose_device(config, comm, training)),
      batch_size_(step_cut(config).samples) {
  if (training && !source.teacher && !is_bridgetower(source.config) && vit(source.config).distillation_token)
    fail_config(fmt::format("{}: a DeiT has a token that learns from a teacher; train it with task.name = distillation",
                            source.folder));
  MakeTask make = task_maker(source, config, comm.size(), &comm);
  StepShape shape = step_shape(config, source.choice, device_.kind, training, comm.rank(), comm.size());
  ops::begin_planning_products(device_);
  plan_ = plan_memory(make, shape);
  check_memory(make, shape);
  choose_products(device_, products, comm);
  task_ = make();
  ParameterStore& store = task_->parameters();
  store.materialize(
      device_, shape.dtype, training, [&](Device device, int64_t bytes) { return comm.allocate(device, bytes); },
      kept_gradients(shape, store));
  work_ = std::make_unique<Workspace>(device_, plan_.activations, shape.dtype);
  upload_ = std::make_unique<BatchUpload>(device_, task_->blank_batch(Device::meta(), shape.batch_size));
  if (training && comm.size() > 1 && divides_optimizer(shape.sync.strategy))
    shards_ = make_shards(store.range(), comm.size());
  if (training)
    optimizer_ =
        std::make_unique<AdamW>(store, optimizer_range(shape.sync.strategy, store.range(), comm.rank(), comm.size()),
                                AdamWConfig{.beta1 = config.train.adam_beta1,
                                            .beta2 = config.train.adam_beta2,
                                            .eps = config.train.adam_epsilon,
                                            .weight_decay = config.train.weight_decay,
                                            .rate = layer_rates(store, config.train.layer_decay),
                                            .average_decay = config.average.decay});
  frozen_master_ = store.frozen_values();
  if (training && frozen_master_ && frozen_master_.dtype == DType::bf16) {
    frozen_buffer_ = Buffer(device_, frozen_master_.numel() * size_of(DType::f32));
    frozen_master_ = frozen_buffer_.view(0, frozen_master_.shape, DType::f32);
  }
  if (teacher()) teacher()->materialize(device_, shape.dtype), teacher()->load(comm, work_->stream);
}

// What the ranks of this host plan, against what is free: before any of them has allocated anything.
void Engine::check_memory(const MakeTask& make, const StepShape& shape) const {
  const bool on_gpu = device_.is_cuda();
  auto free = on_gpu ? std::optional(gpu(device_.index).free_bytes) : available_memory();
  const int64_t neighbours = on_gpu ? 1 : ranks_of_this_host(comm_),
                needed = on_gpu ? plan_.on_device() : plan_.total();
  if (!free || needed * neighbours <= *free) return;
  const int64_t fits = largest_batch(make, shape, *free / neighbours);
  const std::string remedy =
      fits ? fmt::format("try train.batch_size = {}", fits) : "try train.recompute = true or a smaller model";
  if (on_gpu)
    fail_config(fmt::format("train.batch_size = {} needs {} of the GPU but {} of its memory are free; {}",
                            shape.batch_size, gib(needed), gib(*free), remedy));
  fail_config(
      fmt::format("train.batch_size = {} needs {} for each of {} ranks but {} of memory are free on this host; {}",
                  shape.batch_size, gib(needed), neighbours, gib(*free), remedy));
}

void Engine::load_weights(uint64_t seed) {
  ParameterStore& store = task_->parameters();
  bool apart = optimizer_ && store.dtype() == DType::bf16;  // the masters are buffers of their own
  if (source_.folder.empty()) {
    store.initialize(seed);
    if (apart) optimizer_->master_from_values(work_->ctx);
    if (apart && frozen_master_) ops::copy(work_->ctx, frozen_master_, store.frozen_values());
  } else if (comm_.rank() == 0 || (apart && !shards_.empty())) {  // divided masters: every rank reads its own
    auto loaded = viaduct::load_weights(source_.folder, source_.config, store, seed,
                                        apart ? masters() : std::vector<ValuePart>{}, source_.every_layer);
    if (!optimizer_ && !loaded.new_heads.empty())
      fail_input(
          fmt::format("{0}: expected the weights of {1} as its config.json describes them, found none that fit; "
                      "train them first: viaduct train --model.pretrained {0}",
                      source_.folder, fmt::join(loaded.new_heads, ", ")));
  }
  if (!apart || shards_.empty()) comm_.broadcast(apart ? optimizer_->master() : store.values(), 0, work_->stream);
  if (frozen_master_) comm_.broadcast(frozen_master_, 0, work_->stream);
  master_changed();
  if (optimizer_) optimizer_->begin_average(work_->ctx);
}

std::vector<ValuePart> Engine::masters() const {
  std::vector<ValuePart> parts{{optimizer_->owned(), optimizer_->master()}};
  if (frozen_master_) parts.push_back({task_->parameters().frozen_range(), frozen_master_});
  return parts;
}

// Rank 0 holds one parameter at a time, the others a piece of it; what lies whole in host memory is not copied.
ValuesOf Engine::gathered(Tensor own) const {
  return [this, own, copied = std::vector<float>()](const Parameter& p) mutable -> const float* {
    const ParameterStore& store = task_->parameters();
    ValuePart whole{optimizer_->owned(), own};
    if (p.frozen())
      whole = {store.frozen_range(), frozen_master_};
    else if (!shards_.empty() && own.data == store.values(whole.range).data)
      whole = {store.range(), store.values(store.range())};
    else if (!shards_.empty())
      return gather_to_first(p, own, copied);
    if (!device_.is_cuda()) return values_of({whole}, p);
    copied.resize(size_t(p.range.size()));
    bring(copied.data(), whole.values.slice(p.range.begin - whole.range.begin, p.range.end - whole.range.begin));
    return copied.data();
  };
}

void Engine::bring(float* to, Tensor from) const {
  transfer({to, from.shape, DType::f32, Device::cpu()}, from, work_->stream);
  work_->stream.synchronize();
}

// Each rank's part of it, piece by piece; `all` is whole on rank 0 and a piece elsewhere.
const float* Engine::gather_to_first(const Parameter& p, Tensor own, std::vector<float>& all) const {
  static constexpr int64_t kPiece = 1 << 20;
  const bool wanted = comm_.rank() == 0;
  all.resize(size_t(wanted ? p.range.size() : std::min(kPiece, p.range.size())));
  for (int r = 0; r < comm_.size(); ++r) {
    const Range part{std::max(p.range.begin, shards_[size_t(r)].begin), std::min(p.range.end, shards_[size_t(r)].end)};
    for (int64_t begin = part.begin; begin < part.end; begin += kPiece) {
      const int64_t n = std::min(kPiece, part.end - begin), first = begin - optimizer_->owned().begin;
      float* to = all.data() + (wanted ? begin - p.range.begin : 0);
      if (r == comm_.rank()) bring(to, own.slice(first, first + n));
      if (r != 0) comm_.broadcast({to, {n}, DType::f32, Device::cpu()}, r, work_->stream);
    }
  }
  return all.data();
}

CheckpointValues Engine::checkpoint_values() const {
  return {gathered(optimizer_->master()), gathered(optimizer_->m()), gathered(optimizer_->v()),
          optimizer_->average() ? gathered(optimizer_->average()) : ValuesOf()};
}

void Engine::give_values(const ValuesOf& values) const {
  if (shards_.empty()) return;
  for (const Parameter& p : task_->parameters().parameters())
    if (!p.frozen()) values(p);
}

OptimizerTensors Engine::checkpoint_tensors() const {
  return {optimizer_->owned(), optimizer_->master(), optimizer_->m(),
          optimizer_->v(),     frozen_master_,       optimizer_->average()};
}

void Engine::exchange_average() {
  optimizer_->exchange_average(work_->ctx);
  master_changed();
}

void Engine::master_changed() {
  if (optimizer_) optimizer_->values_from_master(work_->ctx);
  if (!shards_.empty()) comm_.gather_parts(task_->parameters().values(), shards_, work_->stream);
  Tensor frozen = task_->parameters().frozen_values();
  if (frozen && frozen.data != frozen_master_.data) ops::copy(work_->ctx, frozen, frozen_master_);
  work_->packed.values_changed();
}

}  // namespace viaduct
