#include "train/run_log.hpp"

#include <omp.h>

#include <nlohmann/json.hpp>

#include "core/base/log.hpp"
#include "train/bound.hpp"
#include "train/device_choice.hpp"

namespace viaduct {
namespace {

nlohmann::ordered_json memory_json(const MemoryPlan& plan) {
  return {{"parameters", plan.parameters},
          {"teacher", plan.teacher},
          {"gradients", plan.gradients},
          {"optimizer", plan.optimizer},
          {"packed_weights", plan.packed},
          {"activations", plan.activations},
          {"step", plan.step},
          {"batches", plan.batches}};
}

}  // namespace

RunLog::RunLog(const Config& config, Engine& engine, Communicator& comm, int64_t start_step)
    : config_(config), engine_(engine), comm_(comm) {
  if (comm.rank() != 0) return;
  const Path folder = config.run.output;
  metrics_.emplace((folder / "metrics.jsonl").string(), start_step, config.run.log_every);
  progress_.emplace(start_step, config.run.log_every, true);
  TensorBoard::cut(folder, start_step);
  if (config.run.tensorboard) tensorboard_.emplace(folder, start_step, config.run.log_every);
  write_summary("");
}

std::vector<Observer*> RunLog::observers() {
  std::vector<Observer*> all{&totals_, &times_};
  if (metrics_) all.insert(all.end(), {&*metrics_, &*progress_});
  if (tensorboard_) all.push_back(&*tensorboard_);
  return all;
}

void RunLog::show_pictures_of(DatasetPtr held_out) {
  if (!tensorboard_ || !PredictionPictures::can(engine_.source().choice)) return;
  pictures_.emplace(engine_, config_, std::move(held_out), comm_);
  tensorboard_->show([this] { return pictures_->predict(); });
}

void RunLog::conclude() {
  progress_.reset();
  std::vector<RankTimes> ranks;
  for (const std::string& text : comm_.all_gather_text(RankTimes::of(times_).text()))
    ranks.push_back(RankTimes::parse(text));
  if (times_.empty() || comm_.rank() != 0) return;
  const std::string bound = what_bounds(ranks, config_, loader_workers(config_), engine_.device().is_cuda());
  log::info("{}", times_.line());
  log::info("{}", bound);
  write_summary(bound);
}

void RunLog::write_totals(int64_t step, double epoch, std::map<std::string, double> metrics) {
  if (!metrics_) return;
  metrics.merge(totals_.metrics());
  metrics.merge(times_.metrics());
  metrics_->write(step, epoch, metrics);
}

// Bytes are those of rank 0.
void RunLog::write_summary(const std::string& bound) const {
  const ModelSource& source = engine_.source();
  nlohmann::ordered_json summary = {{"model", describe(source.config)},
                                    {"parameters", engine_.parameter_count()},
                                    {"task", source.choice.text()},
                                    {"device", describe(engine_.device())},
                                    {"host", log::identity().host},
                                    {"ranks", comm_.size()},
                                    {"threads", omp_get_max_threads()},
                                    {"communicator", comm_.name(engine_.device())},
                                    {"memory_bytes", memory_json(engine_.plan())}};
  if (!bound.empty()) summary["bound"] = bound;
  write_file_durable(Path(config_.run.output) / "summary.json",
                     summary.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace viaduct
