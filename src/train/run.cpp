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
#include "train/batch_choice.hpp"
#include "train/checkpoint.hpp"
#include "train/device_choice.hpp"
#include "train/distillation_report.hpp"
#include "train/engine.hpp"
#include "train/evaluate.hpp"
#include "train/evaluations.hpp"
#include "train/fault.hpp"
#include "train/learning_rate.hpp"
#include "train/nonfinite_search.hpp"
#include "train/parity.hpp"
#include "train/rank_error.hpp"
#include "train/resume.hpp"
#include "train/run_length.hpp"
#include "train/run_log.hpp"
#include "train/run_words.hpp"
#include "train/step_cut.hpp"
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
  // Why it has ended, once run() has returned Exit::ok.
  const std::string& ending() const { return ending_; }

 private:
  Trainer::Hooks hooks(GradSync&, const LoaderOptions& training);
  int64_t every(int64_t setting) const;
  bool evaluation_owed() const;
  TrainerOptions trainer_options() const;
  void resume_from(const Checkpoint&);
  int64_t competing_pairs() const;
  RunState state(int64_t step);
  std::map<std::string, double> evaluate_at(int64_t step);
  std::string save(int64_t step, bool evaluated);
  void export_model(const std::string& name, const ValuesOf& values);
  GradSyncOptions sync_options() const;
  bool first() const { return comm_.rank() == 0; }
  Path folder() const { return config_.run.output; }

  Config config_;  // settled before anything else is made of it
  Communicator& comm_;
  RankRecord& record_;
  PhaseClock& clock_;
  Fault fault_;
  TrainEval data_;
  std::string train_data_;  // what they are, in words
  TextSizes train_texts_, eval_texts_;
  const std::optional<Checkpoint> resumed_;  // what the run goes on from
  Engine engine_;
  BatchPlan batches_;
  std::optional<Loader> eval_loader_;
  Evaluations evaluations_;
  int64_t start_step_ = 0, total_steps_ = 0;
  int64_t first_ranks_;  // with which the run began
  TimeLimit time_;
  std::string ending_ = "every step was done";
};

TrainEval open_checked_data(const Config& config, Communicator& comm) {
  TrainEval data = open_data(config, resolve_task(config));
  if (data.train->size() == 0) fail_input(config.data.train + ": no training images");
  if (data.eval && data.eval->size() == 0) fail_input(config.data.eval + ": no images to evaluate");
  agree_on_data(data, comm);
  return data;
}

// The model, with the lengths of the texts that it will be given.
// Settles the size of a batch, which may depend on it.
ModelSource measured_source(Config& config, const TrainEval& data, TextSizes& train, TextSizes& eval,
                            const std::optional<Checkpoint>& resumed, Communicator& comm) {
  ModelSource source = resolve_model(config, data.train->classes());
  agree_on_model(source, comm);
  auto sizes = fit_to_texts(source, config, {data.train, data.eval}, comm);
  train = sizes[0], eval = sizes[1];
  settle_batch_size(config, source, data.train->size(), resumed, comm);
  return source;
}

Run::Run(const Config& given, Communicator& comm, RankRecord& record)
    : config_(settled(given)),
      comm_(comm),
      record_(record),
      clock_(record.clock),
      fault_(config_.fault, comm.rank()),
      data_(open_checked_data(config_, comm)),
      train_data_(describe_data(*data_.train)),
      resumed_(checkpoint_to_resume(config_, comm)),
      engine_(measured_source(config_, data_, train_texts_, eval_texts_, resumed_, comm), config_, true, comm,
              resumed_ && resumed_->state.has(kProducts) ? resumed_->state.text(kProducts) : ""),
      batches_{.samples = data_.train->size(),
               .batch_size = step_cut(config_).samples,
               .accumulate = step_cut(config_).passes,
               .ranks = comm.size()},
      evaluations_(config_, data_.eval ? describe_data(*data_.eval) : ""),
      total_steps_(total_steps(config_, batches_)),
      first_ranks_(comm.size()),
      time_(config_.train.max_seconds) {}

// The steps between, from a setting that may be epoch (0) or never (-1); 0: never.
int64_t Run::every(int64_t setting) const {
  return setting == 0 ? batches_.steps_per_epoch() : std::max<int64_t>(setting, 0);
}

// The run was stopped at the step of an evaluation, before it.
bool Run::evaluation_owed() const {
  int64_t steps = every(config_.train.eval_every);
  return start_step_ > 0 && steps > 0 && start_step_ % steps == 0 && evaluations_.last_step() != start_step_;
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
          .skip_nonfinite = config_.train.nonfinite == "skip",
          .learning_rate = scaled_learning_rate(config_, first_ranks_),
          .clip_norm = config_.train.clip_norm,
          .schedule{config_.train.schedule, Schedule::warmup_from(config_.train.warmup, total_steps_), total_steps_}};
}

// Pairs that a contrastive loss tells apart: what a pass is decides the loss, not the step alone.
int64_t Run::competing_pairs() const {
  return batches_.batch_size * (config_.task.negatives == "global" ? comm_.size() : 1);
}

// What check_resumable compares, and what only goes on. The number of ranks is not among it.
RunState Run::state(int64_t step) {
  RunState s;
  s.set("step", step);
  s.set("global_batch", batches_.global_batch());
  s.set("data", train_data_);
  s.set("total_steps", total_steps_);
  s.set("seed", config_.train.seed);
  s.set("shuffle", int64_t(config_.data.shuffle));
  s.set("data.image_pipeline", config_.data.image_pipeline);
  s.set("updates", engine_.optimizer().steps());
  s.set("ranks", first_ranks_);
  s.set("seconds", time_.seconds());
  if (config_.average.decay > 0) s.set("average.decay", fmt::format("{}", config_.average.decay));
  evaluations_.save(s);
  if (engine_.device().is_cuda()) s.set(kProducts, ops::product_algorithms(engine_.device()));
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
  engine_.optimizer().set_steps(checkpoint.state.integer("updates"));
  engine_.master_changed();
  start_step_ = checkpoint.step;
  record_.step = start_step_;
  first_ranks_ = checkpoint.state.integer("ranks");
  time_.resume(checkpoint.state.number("seconds"));
  evaluations_.restore(checkpoint.state);
  log::info("resumed from {} at step {} of {}", checkpoint.path.string(), start_step_, total_steps_);
}

std::map<std::string, double> Run::evaluate_at(int64_t step) {
  record_.step = step;
  fault_.at("eval", step, clock_, engine_);
  if (eval_loader_->done()) eval_loader_->restart();  // it begins anew, unless this is the first time
  const bool averaged = config_.average.decay > 0 && config_.average.evaluate;
  if (averaged) engine_.exchange_average();
  auto metrics = evaluate(engine_.task(), engine_.work(), engine_.upload(), *eval_loader_, comm_);
  evaluations_.add(step, metrics, comm_);
  if (evaluations_.improved()) {
    export_model("best", engine_.checkpoint_values().master);
    comm_.barrier();  // here, not in the next step, where waiting counts as a stall
  }
  if (averaged) engine_.exchange_average();
  return metrics;
}

std::string Run::save(int64_t step, bool evaluated) {
  Path path;
  fault_.at("save", step, clock_, engine_);
  if (engine_.teacher()) engine_.teacher()->flush_cache();
  CheckpointValues values = engine_.checkpoint_values();
  if (first())
    path = save_checkpoint(folder() / "checkpoints", step, state(step), engine_.task().parameters(), values,
                           evaluated ? evaluations_.score() : std::nullopt,
                           {.last = config_.run.keep_last, .best = config_.run.keep_best});
  else
    for (const ValuesOf& part : {values.master, values.m, values.v, values.average})
      if (part) engine_.give_values(part);
  return comm_.broadcast_text(path.string(), 0);
}

void Run::export_model(const std::string& name, const ValuesOf& values) {
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
  if (first())
    say_plan({config_, engine_, data_, train_texts_, batches_, total_steps_,
              scaled_learning_rate(config_, first_ranks_), comm_});

  RunLog run_log(config_, engine_, comm_, start_step_);
  auto sync = make_grad_sync(sync_options(), engine_.task().parameters(), comm_);
  agree_on("the collectives of a step", sync->collectives(), comm_);
  if (data_.eval && config_.train.eval_every >= 0) {  // made now, so that what is wrong with the data is said now
    eval_loader_.emplace(
        data_.eval, loader_options(config_, Pass::evaluation, engine_.source(), eval_texts_, comm_, engine_.device()));
    run_log.show_pictures_of(data_.eval);
  }

  const LoaderOptions training =
      loader_options(config_, Pass::training, engine_.source(), train_texts_, comm_, engine_.device());
  Loader loader(data_.train, training, start_step_);
  Trainer trainer(engine_.task(), *sync, engine_.optimizer(), loader, engine_.upload(), engine_.work(), clock_,
                  trainer_options(), hooks(*sync, training), run_log.observers());
  time_.begin();
  RunEnd end = trainer.run();
  run_log.conclude();
  if (end == RunEnd::preempted) {
    log::info("stopped on request after a step; go on with --run.resume auto");
    return Exit::preempted;
  }
  if (record_.step < total_steps_) {
    ending_ =
        evaluations_.reason_to_stop().empty() ? "the time of train.max_seconds is up" : evaluations_.reason_to_stop();
    log::info("the run ends at step {} of {}: {}", record_.step, total_steps_, ending_);
  }
  const CheckpointValues values = engine_.checkpoint_values();
  export_model("model", values.master);
  if (values.average) export_model("average", values.average);
  std::map<std::string, double> beside;
  if (engine_.teacher()) beside = compare_with_teacher(engine_, eval_loader_, comm_);
  run_log.write_totals(record_.step, double(batches_.samples_before(record_.step)) / double(batches_.samples), beside);
  comm_.barrier();
  return Exit::ok;
}

Trainer::Hooks Run::hooks(GradSync& sync, const LoaderOptions& training) {
  Trainer::Hooks hooks;
  if (eval_loader_) hooks.evaluate = [&](int64_t step) { return evaluate_at(step); };
  hooks.save = [&](int64_t step, const auto& metrics) {
    record_.step = step;
    return save(step, !metrics.empty());
  };
  hooks.before_step = [&](int64_t step) {
    record_.step = step;
    if (config_.fault.kind != "none") sync.settle();  // damage must not be overwritten
    fault_.at("step", step, clock_, engine_);
  };
  hooks.parity = [&](int64_t step) { check_parity(engine_.task().parameters(), step, comm_); };
  hooks.stop_requested = [&] { return stop_requested() || (first() && time_.up()); };
  hooks.over = [&] { return comm_.broadcast_text(time_.up() ? "up" : "", 0) == "up"; };
  hooks.enough = [&] { return !evaluations_.reason_to_stop().empty() || time_.was_up(); };
  hooks.explain = [&](int64_t step, const std::vector<int>& ranks) {
    return find_nonfinite(engine_, data_.train, training, step, ranks, comm_);
  };
  return hooks;
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
  Watchdog watchdog(
      ranks, config.parallel.timeout_seconds,
      [&](const Verdict& verdict) {
        const bool first = write_verdict(config.run.output, verdict);
        record.ended = true;
        if (!first) std::this_thread::sleep_for(kOthersSpeak);
        end_all_ranks(verdict.code, verdict.message);
      },
      make_mpi_beats(world), [&] { return comm.trouble(); });
  std::optional<Run> run;
  try {
    agree_on("what they run", described_run(config), comm);
    run.emplace(config, comm, record);
    Exit code = run->run(accepted);
    comm.barrier();
    record.ended = true;
    if (comm.rank() == 0) conclude(code, code == Exit::ok ? run->ending() : "stopped on request, state saved");
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
