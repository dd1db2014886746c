// What a run tells while it goes on and when it ends: progress, metrics.jsonl, TensorBoard events, summary.json. Rank 0
// writes; every rank has one, because where the time goes is a matter of all of them.
#pragma once
#include <optional>
#include <vector>

#include "train/engine.hpp"
#include "train/metrics_log.hpp"
#include "train/prediction_pictures.hpp"
#include "train/progress.hpp"
#include "train/tensorboard.hpp"
#include "train/totals.hpp"

namespace viaduct {

class RunLog {
 public:
  // Opens the files of run.output; what they say of later steps than `start_step` is cut off.
  RunLog(const Config&, Engine&, Communicator&, int64_t start_step);
  std::vector<Observer*> observers();
  // With every evaluation some of them go to TensorBoard, with what the model says of them.
  void show_pictures_of(DatasetPtr held_out);

  // Collective, after the last step: where the time went and what bounds the run.
  void conclude();
  // The totals of a run that is complete, with what else is to be said, as the last line of metrics.jsonl; on rank 0.
  void write_totals(int64_t step, double epoch, std::map<std::string, double> metrics);

 private:
  void write_summary(const std::string& bound) const;

  const Config& config_;
  Engine& engine_;
  Communicator& comm_;
  Totals totals_;
  StepTimes times_;
  std::optional<MetricsLog> metrics_;
  std::optional<Progress> progress_;
  std::optional<PredictionPictures> pictures_;
  std::optional<TensorBoard> tensorboard_;
};

}  // namespace viaduct
