#include "train/engine.hpp"

#include <omp.h>

#include <algorithm>
#include <filesystem>

#include "core/base/log.hpp"
#include "models/hf_config.hpp"
#include "models/hf_weights.hpp"
#include "train/host_memory.hpp"
#include "train/image_processor.hpp"

namespace viaduct {
namespace {

ops::Normalization normalization_of(const ImageProcessor& p) {
  ops::Normalization n{.rescale = p.do_rescale ? p.rescale_factor : 1.0, .mean{0, 0, 0}, .std{1, 1, 1}};
  if (p.do_normalize) n.mean = p.mean, n.std = p.std;
  return n;
}

std::string gib(int64_t bytes) { return fmt::format("{:.2f} GiB", double(bytes) / (1 << 30)); }

int64_t ranks_of_this_host(Communicator& comm) {
  const std::string& mine = log::identity().host;
  auto hosts = comm.all_gather_text(mine);
  return std::count(hosts.begin(), hosts.end(), mine);
}

// Of a run folder its model/.
std::string model_folder(const std::string& name) {
  return std::filesystem::exists(name + "/model/config.json") ? name + "/model" : name;
}

}  // namespace

ModelSource resolve_model(const Config& config, const std::vector<std::string>& classes) {
  ModelSource source;
  if (!config.model.pretrained.empty()) {
    Path folder = find_model_folder(model_folder(config.model.pretrained));
    source.folder = folder.string();
    ModelConfig read = read_model_config(folder);
    if (is_bridgetower(read)) fail_input(fmt::format("{}: expected model_type = \"vit\"", folder.string()));
    source.config = vit(read);
    source.processor = read_image_processor(folder, ImageProcessor::vit(int(source.config.image_size)));
  }
  ModelConfig overridden = source.config;
  apply_overrides(config, overridden);
  source.config = vit(overridden);
  if (config.data.image_size > 0) {
    if (config.model.overrides.contains("image_size") && source.config.image_size != config.data.image_size)
      fail_config(fmt::format("data.image_size = {} and model.image_size = {} differ; give one of them",
                              config.data.image_size, source.config.image_size));
    source.config.image_size = config.data.image_size;
  }
  source.processor.set_image_size(int(source.config.image_size));
  source.processor.pipeline = image_pipeline_named(config.data.image_pipeline);
  if (!classes.empty()) source.config.labels = classes;
  source.config.validate();
  return source;
}

MakeTask task_maker(const ModelSource& source, const Config& config) {
  return [config = source.config, normalization = normalization_of(source.processor),
          recompute = config.train.recompute]() -> std::unique_ptr<Task> {
    return std::make_unique<ClassificationTask>(config, normalization, recompute);
  };
}

namespace {
int loader_workers(const Config& config) {
  return config.data.workers < 0 ? automatic_workers(omp_get_max_threads()) : int(config.data.workers);
}
}  // namespace

StepShape step_shape(const Config& config, bool training) {
  bool evaluates_too = training && !config.data.eval.empty() && config.train.eval_every >= 0;
  return {.batch_size = config.train.batch_size,
          .dtype = config.train.precision == "bf16" ? DType::bf16 : DType::f32,
          .training = training,
          .batches_held = batches_held(loader_workers(config)) * (evaluates_too ? 2 : 1)};
}

LoaderOptions loader_options(const Config& config, Pass pass, const ImageProcessor& processor,
                             const Communicator& comm) {
  return {.pass = pass,
          .batch_size = config.train.batch_size,
          .accumulate = config.train.accumulate,
          .rank = comm.rank(),
          .ranks = comm.size(),
          .seed = uint64_t(config.train.seed),
          .shuffle = config.data.shuffle,
          .processor = processor,
          .augment = pass == Pass::training ? augment_named(config.data.augment) : Augment::none,
          .workers = loader_workers(config),
          .quarantine_budget = config.data.max_quarantined};
}

std::string plan_text(const MemoryPlan& p) {
  std::string text = fmt::format("{} a rank: parameters {}", gib(p.total()), gib(p.parameters));
  if (p.gradients) text += fmt::format(", gradients {}, optimizer {}", gib(p.gradients), gib(p.optimizer));
  return text + fmt::format(", packed weights {}, activations {}, batches {}", gib(p.packed), gib(p.activations),
                            gib(p.batches));
}

Engine::Engine(const ModelSource& source, const Config& config, bool training, Communicator& comm)
    : source_(source), comm_(comm) {
  MakeTask make = task_maker(source, config);
  StepShape shape = step_shape(config, training);
  plan_ = plan_memory(make, shape);
  auto free = available_memory();  // before the ranks meet: none of them has allocated anything yet
  int64_t neighbours = ranks_of_this_host(comm);
  if (free && plan_.total() * neighbours > *free) {
    int64_t fits = largest_batch(make, shape, *free / neighbours);
    fail_config(fmt::format(
        "train.batch_size = {} needs {} for each of {} ranks but {} of memory are free on this host; {}",
        shape.batch_size, gib(plan_.total()), neighbours, gib(*free),
        fits ? fmt::format("try train.batch_size = {}", fits) : "try train.recompute = true or a smaller model"));
  }
  task_ = make();
  ParameterStore& store = task_->parameters();
  store.materialize(Device::cpu(), shape.dtype, training,
                    [&](Device device, int64_t bytes) { return comm.allocate(device, bytes); });
  work_ = std::make_unique<Workspace>(Device::cpu(), plan_.activations, shape.dtype);
  if (training)
    optimizer_ = std::make_unique<AdamW>(store, store.range(),
                                         AdamWConfig{.beta1 = config.train.adam_beta1,
                                                     .beta2 = config.train.adam_beta2,
                                                     .eps = config.train.adam_epsilon,
                                                     .weight_decay = config.train.weight_decay});
}

void Engine::load_weights(uint64_t seed) {
  ParameterStore& store = task_->parameters();
  bool apart = optimizer_ && store.dtype() == DType::bf16;  // the master is a buffer of its own
  Tensor master = apart ? optimizer_->master() : Tensor{};
  if (source_.folder.empty()) {
    store.initialize(seed);
    if (apart) optimizer_->master_from_values(work_->ctx);
  } else if (comm_.rank() == 0) {
    std::vector<ValuePart> masters;
    if (apart) masters.push_back({store.range(), master});
    auto loaded = viaduct::load_weights(source_.folder, source_.config, store, seed, masters);
    if (!optimizer_ && !loaded.new_heads.empty())
      fail_input(
          fmt::format("{0}: expected a classifier for the {1} classes of its config.json, found none that fits; "
                      "train one first: viaduct train --model.pretrained {0}",
                      source_.folder, source_.config.classes()));
  }
  comm_.broadcast(apart ? master : store.values(), 0, work_->stream);
  master_changed();
}

void Engine::master_changed() {
  if (optimizer_) optimizer_->values_from_master(work_->ctx);
  work_->packed.values_changed();
}

}  // namespace viaduct
