#include "train/run.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <thread>

#include "comm/counted_comm.hpp"
#include "comm/mpi_world.hpp"
#include "comm/signals.hpp"
#include "core/base/log.hpp"
#include "core/ops/product_algorithms.hpp"
#include "models/hf_config.hpp"
#include "models/hf_export.hpp"
#include "train/agreement.hpp"
#include "train/checkpoint.hpp"
#include "train/device_choice.hpp"
#include "train/distillation_report.hpp"
#include "train/engine.hpp"
#include "train/evaluate.hpp"
#include "train/fault.hpp"
#include "train/image_processor.hpp"
#include "train/metrics_log.hpp"
#include "train/parity.hpp"
#include "train/progress.hpp"
#include "train/rank_error.hpp"
#include "train/resume.hpp"
#include "train/step_cut.hpp"
#include "train/totals.hpp"
#include "train/trainer.hpp"
#include "train/verdict.hpp"
#include "train/watchdog.hpp"

namespace viaduct {
namespace {

constexpr const char* kProducts = "products";    // of a checkpoint's state: which algorithm computes which product
constexpr std::chrono::seconds kOthersSpeak(3);  // mpirun needs two to end the ranks of one that has spoken

class Run {
 public:
  // `record`: where the phase and the step are said.
  Run(const Config&, Communicator&, RankRecord& record);
  Exit run(const Accepted& accepted);

 private:
  int64_t every(int64_t setting) const;
  bool evaluation_owed() const;
  TrainerOptions trainer_options() const;
  void resume_from(const Checkpoint&);
  int64_t competing_pairs() const;
  RunState state(int64_t step) const;
  std::map<std::string, double> evaluate_at(int64_t step);
  std::string save(int64_t step, bool is_best);
  void export_model(const std::string& name);
  GradSyncOptions sync_options() const;
  void say_plan();
  void say_texts();
  void say_slowest(const Totals&);
  std::string frozen_words();
  bool first() const { return comm_.rank() == 0; }
  Path folder() const { return config_.run.output; }

  const Config config_;
  Communicator& comm_;
  RankRecord& record_;
  PhaseClock& clock_;
  Fault fault_;
  TrainEval data_;
  std::string train_data_, best_of_;  // what they are, in words: best_of_ is the metric and its data
  TextSizes train_texts_, eval_texts_;
  const std::optional<Checkpoint> resumed_;  // what the run goes on from
  Engine engine_;
  BatchPlan batches_;
  std::optional<Loader> eval_loader_;
  int64_t start_step_ = 0, total_steps_ = 0;
  double best_ = std::nan("");
  int64_t evaluated_ = 0;  // the step of the last evaluation
  bool improved_ = false;  // at the last evaluation
};

TrainEval open_checked_data(const Config& config, Communicator& comm) {
  TrainEval data = open_data(config, resolve_task(config));
  if (data.train->size() == 0) fail_input(config.data.train + ": no training images");
  if (data.eval && data.eval->size() == 0) fail_input(config.data.eval + ": no images to evaluate");
  agree_on_data(data, comm);
  return data;
}

// The model, with the lengths of the texts that it will be given.
ModelSource measured_source(const Config& config, const TrainEval& data, TextSizes& train, TextSizes& eval,
                            Communicator& comm) {
  ModelSource source = resolve_model(config, data.train->classes());
  agree_on_model(source, comm);
  auto sizes = fit_to_texts(source, config, {data.train, data.eval}, comm);
  train = sizes[0], eval = sizes[1];
  return source;
}

// Of data.train, and train.warmup among them.
int64_t total_steps(const Config& config, const BatchPlan& batches) {
  if (config.train.steps > 0) return config.train.steps;
  double steps = std::ceil(config.train.epochs * double(batches.steps_per_epoch()));
  if (steps >= rule::kMany)
    fail_config(
        fmt::format("train.epochs = {} are {} steps; expected fewer than {}", config.train.epochs, steps, rule::kMany));
  if (config.train.warmup > steps)
    fail_config(fmt::format("train.warmup = {} is more than the {} steps of train.epochs = {}", config.train.warmup,
                            steps, config.train.epochs));
  return int64_t(steps);
}

Run::Run(const Config& given, Communicator& comm, RankRecord& record)
    : config_(settled(given)),
      comm_(comm),
      record_(record),
      clock_(record.clock),
      fault_(config_.fault, comm.rank()),
      data_(open_checked_data(config_, comm)),
      train_data_(describe_data(*data_.train)),
      best_of_(data_.eval ? config_.run.best + " of " + describe_data(*data_.eval) : "none"),
      resumed_(checkpoint_to_resume(config_, comm)),
      engine_(measured_source(config_, data_, train_texts_, eval_texts_, comm), config_, true, comm,
              resumed_ && resumed_->state.has(kProducts) ? resumed_->state.text(kProducts) : ""),
      batches_{.samples = data_.train->size(),
               .batch_size = step_cut(config_).samples,
               .accumulate = step_cut(config_).passes,
               .ranks = comm.size()},
      total_steps_(total_steps(config_, batches_)) {}

// The steps between, from a setting that may be epoch (0) or never (-1); 0: never.
int64_t Run::every(int64_t setting) const {
  return setting == 0 ? batches_.steps_per_epoch() : std::max<int64_t>(setting, 0);
}

// The run was stopped at the step of an evaluation, before it.
bool Run::evaluation_owed() const {
  int64_t steps = every(config_.train.eval_every);
  return start_step_ > 0 && steps > 0 && start_step_ % steps == 0 && evaluated_ != start_step_;
}

TrainerOptions Run::trainer_options() const {
  return {.start_step = start_step_,
          .total_steps = total_steps_,
          .accumulate = batches_.accumulate,
          .eval_every = every(config_.train.eval_every),
          .checkpoint_every = every(config_.run.checkpoint_every),
          .parity_every = config_.parallel.parity_every,
          .evaluation_owed = evaluation_owed(),
          .graph = config_.device.graph,
          .learning_rate = config_.train.lr,
          .clip_norm = config_.train.clip_norm,
          .schedule{config_.train.schedule, Schedule::warmup_from(config_.train.warmup, total_steps_), total_steps_}};
}

// Pairs that a contrastive loss tells apart: what a pass is decides the loss, not the step alone.
int64_t Run::competing_pairs() const {
  return batches_.batch_size * (config_.task.negatives == "global" ? comm_.size() : 1);
}

// What check_resumable compares, and what only goes on. The number of ranks is not among it.
RunState Run::state(int64_t step) const {
  RunState s;
  s.set("step", step);
  s.set("global_batch", batches_.global_batch());
  s.set("data", train_data_);
  s.set("total_steps", total_steps_);
  s.set("seed", config_.train.seed);
  s.set("shuffle", int64_t(config_.data.shuffle));
  s.set("data.image_pipeline", config_.data.image_pipeline);
  s.set("evaluated", evaluated_);
  if (engine_.device().is_cuda()) s.set(kProducts, ops::product_algorithms(engine_.device()));
  if (std::isfinite(best_)) s.set("best_metric", best_), s.set("best_of", best_of_);
  // So that a checkpoint can be exported by itself.
  const ModelSource& source = engine_.source();
  s.set("config.json", model_config_json(source.config, source.architecture()));
  for (const auto& [name, text] : source.more_files()) s.set(kModelFile + name, text);
  s.set("task.name", source.choice.text());
  if (engine_.teacher()) s.set("distillation", lessons(config_, *engine_.teacher()));
  if (source.tokenizer) {
    s.set("task.negatives", config_.task.negatives), s.set("task.itm_negatives", config_.task.itm_negatives);
    s.set("task.freeze", frozen_towers(config_).names()), s.set("data.padding", config_.data.padding);
    s.set("max_text_length", source.max_text_length(config_));
  }
  if (source.choice.itc > 0) s.set("negatives", competing_pairs());
  return s;
}

void Run::resume_from(const Checkpoint& checkpoint) {
  check_resumable(checkpoint, state(checkpoint.step));
  load_checkpoint(checkpoint.path, engine_.task().parameters(), engine_.checkpoint_tensors());
  engine_.optimizer().set_steps(checkpoint.step);
  engine_.master_changed();
  start_step_ = checkpoint.step;
  record_.step = start_step_;
  evaluated_ = checkpoint.state.integer("evaluated");
  if (checkpoint.state.has("best_metric")) {
    if (checkpoint.state.text("best_of") == best_of_)
      best_ = checkpoint.state.number("best_metric");
    else
      log::warn("the best so far was {}, and this run asks for {}: the search for the best begins anew",
                checkpoint.state.text("best_of"), best_of_);
  }
  log::info("resumed from {} at step {} of {}", checkpoint.path.string(), start_step_, total_steps_);
}

std::map<std::string, double> Run::evaluate_at(int64_t step) {
  record_.step = step;
  fault_.at("eval", step, clock_, engine_);
  if (eval_loader_->done()) eval_loader_->restart();  // it begins anew, unless this is the first time
  auto metrics = evaluate(engine_.task(), engine_.work(), engine_.upload(), *eval_loader_, comm_);
  evaluated_ = step, improved_ = false;
  if (config_.run.best != "none") {
    double value = metrics.at(config_.run.best), sign = config_.run.best == "eval_loss" ? -1 : 1;
    if (std::isfinite(value) && !(sign * value <= sign * best_)) best_ = value, improved_ = true;
    if (improved_) {
      export_model("best");
      comm_.barrier();  // here, not in the next step, where waiting counts as a stall
    }
  }
  return metrics;
}

std::string Run::save(int64_t step, bool is_best) {
  Path path;
  fault_.at("save", step, clock_, engine_);
  if (engine_.teacher()) engine_.teacher()->flush_cache();
  CheckpointValues values = engine_.checkpoint_values();
  if (first())
    path = save_checkpoint(folder() / "checkpoints", step, state(step), engine_.task().parameters(), values, is_best,
                           {.last = config_.run.keep_last});
  else
    for (const ValuesOf& part : {values.master, values.m, values.v}) engine_.give_values(part);
  return comm_.broadcast_text(path.string(), 0);
}

void Run::export_model(const std::string& name) {
  ValuesOf values = engine_.checkpoint_values().master;
  if (!first()) return engine_.give_values(values);
  const ModelSource& source = engine_.source();
  viaduct::export_model(folder() / name, source.config, source.architecture(), engine_.task().parameters(), values,
                        source.more_files());
}

GradSyncOptions Run::sync_options() const {
  auto options = grad_sync_options(config_, engine_.source().choice, comm_.size());
  if (fault_.mismatched_plan()) options.wire.type = options.wire.type == DType::f32 ? DType::bf16 : DType::f32;
  return options;
}

Exit Run::run(const Accepted& accepted) {
  if (resumed_)
    resume_from(*resumed_);
  else
    engine_.load_weights(uint64_t(config_.train.seed));
  if (engine_.teacher()) engine_.teacher()->open_cache(config_, train_data_);
  fault_.at("init", start_step_, clock_, engine_);
  comm_.barrier();  // no rank refuses any more
  if (first() && accepted) accepted(config_);
  comm_.barrier();
  say_plan();

  Totals totals;
  std::optional<MetricsLog> file;
  std::optional<Progress> progress;
  std::vector<Observer*> observers{&totals};
  if (first()) {
    file.emplace((folder() / "metrics.jsonl").string(), start_step_, config_.run.log_every);
    progress.emplace(start_step_, config_.run.log_every, true);
    observers.insert(observers.end(), {&*file, &*progress});
  }
  auto sync = make_grad_sync(sync_options(), engine_.task().parameters(), comm_);
  agree_on("the collectives of a step", sync->collectives(), comm_);
  Trainer::Hooks hooks{.save =
                           [&](int64_t step, const auto& metrics) {
                             record_.step = step;
                             return save(step, improved_ && !metrics.empty());
                           },
                       .before_step =
                           [&](int64_t step) {
                             record_.step = step;
                             if (config_.fault.kind != "none") sync->settle();  // damage must not be overwritten
                             fault_.at("step", step, clock_, engine_);
                           },
                       .parity = [&](int64_t step) { check_parity(engine_.task().parameters(), step, comm_); },
                       .stop_requested = stop_requested};
  if (data_.eval && config_.train.eval_every >= 0) {  // made now, so that what is wrong with the data is said now
    eval_loader_.emplace(
        data_.eval, loader_options(config_, Pass::evaluation, engine_.source(), eval_texts_, comm_, engine_.device()));
    hooks.evaluate = [&](int64_t step) { return evaluate_at(step); };
  }

  Loader loader(data_.train,
                loader_options(config_, Pass::training, engine_.source(), train_texts_, comm_, engine_.device()),
                start_step_);
  Trainer trainer(engine_.task(), *sync, engine_.optimizer(), loader, engine_.upload(), engine_.work(), clock_,
                  trainer_options(), std::move(hooks), observers);
  RunEnd end = trainer.run();
  progress.reset();
  if (end == RunEnd::preempted) {
    log::info("stopped on request after a step; go on with --run.resume auto");
    return Exit::preempted;
  }
  say_slowest(totals);
  export_model("model");
  auto metrics = totals.metrics();
  if (engine_.teacher()) metrics.merge(compare_with_teacher(engine_, eval_loader_, comm_));
  if (file)
    file->write(total_steps_, double(batches_.samples_before(total_steps_)) / double(batches_.samples), metrics);
  comm_.barrier();
  return Exit::ok;
}

// Whom the others waited for, if that was a fifth of the time.
void Run::say_slowest(const Totals& totals) {
  std::vector<double> waited;
  for (const std::string& text : comm_.all_gather_text(fmt::format("{}", totals.waited())))
    waited.push_back(std::stod(text));
  const auto [least, most] = std::minmax_element(waited.begin(), waited.end());
  if (first() && *most - *least > totals.seconds() / 5)
    log::warn("rank {} kept the others waiting for {:.0f} % of the time of the steps", least - waited.begin(),
              100 * (*most - *least) / totals.seconds());
}

// Of the parameters, ", 12.3 M of them frozen".
std::string Run::frozen_words() {
  int64_t frozen = engine_.task().parameters().frozen_count();
  return config_.task.freeze.empty() ? "" : fmt::format(", {:.1f} M of them frozen", double(frozen) / 1e6);
}

void Run::say_texts() {
  const ModelSource& source = engine_.source();
  const int64_t most = source.max_text_length(config_);
  auto full = std::count_if(train_texts_->begin(), train_texts_->end(), [&](TextSize s) { return s.tokens == most; });
  log::info("texts: up to {} tokens with <s> and </s>, padded to {}{}", source.text_tokens,
            config_.data.padding == "longest" ? "the longest of a step" : "that",
            full ? fmt::format("; {} of {} fill {} tokens and may be cut", full, train_texts_->size(), most) : "");
}

void Run::say_plan() {
  const ModelSource& source = engine_.source();
  if (source.tokenizer) log::info("task: {} ({})", source.choice.text(), config_.origin("task.name"));
  log::info("model: {}, {:.1f} M parameters{}, {}", describe(source.config), double(engine_.parameter_count()) / 1e6,
            frozen_words(), config_.train.precision);
  log::info("data: {} {} to train on{}", data_.train->size(), data_.train->has_text() ? "images with texts" : "images",
            data_.eval ? fmt::format(", {} {}held out", data_.eval->size(), source.tokenizer ? "texts " : "") : "");
  if (source.tokenizer) say_texts();
  log::info("device: {}", describe(engine_.device()));
  log::info("memory: {}", plan_text(engine_.plan()));
  log::info("steps: {} of {} samples ({} ranks x {} x {}), {} an epoch", total_steps_, batches_.global_batch(),
            batches_.ranks, batches_.batch_size, batches_.accumulate, batches_.steps_per_epoch());
  if (comm_.size() > 1) log::info("gradients: {} over {}", config_.parallel.strategy, comm_.name());
}

}  // namespace

Exit run_training(const Config& config, Communicator& world, const Accepted& accepted) {
  HostRanks ranks(world);
  CountedComm comm(world, ranks.mine());
  RankRecord& record = ranks.mine();
  auto conclude = [&](Exit code, const std::string& message, int rank = -1) {
    write_verdict(
        config.run.output,
        {.code = code, .message = message, .phase = name_of(record.clock.phase()), .step = record.step, .rank = rank});
    record.ended = true;
  };
  Watchdog watchdog(ranks, config.parallel.timeout_seconds, [&](const Verdict& verdict) {
    const bool first = write_verdict(config.run.output, verdict);
    record.ended = true;
    if (!first) std::this_thread::sleep_for(kOthersSpeak);
    end_all_ranks(verdict.code, verdict.message);
  });
  std::optional<Run> run;
  try {
    agree_on("what they run", described_run(config), comm);
    run.emplace(config, comm, record);
    Exit code = run->run(accepted);
    comm.barrier();
    record.ended = true;
    if (comm.rank() == 0) conclude(code, code == Exit::ok ? "every step was done" : "stopped on request, state saved");
    return code;
  } catch (const RankError& e) {
    conclude(e.code(), e.what(), e.rank());
    throw;
  } catch (const Error& e) {
    conclude(e.code(), e.what());
    throw;
  } catch (const std::exception& e) {
    conclude(Exit::crash, e.what());
    throw;
  }
}

}  // namespace viaduct
