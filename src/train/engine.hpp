// A model with its memory, ready to run: what training, evaluation, prediction and benchmarks have in common.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/ops/workspace.hpp"
#include "core/optim/adamw.hpp"
#include "data/loader.hpp"
#include "train/classification.hpp"
#include "train/config.hpp"
#include "train/plan.hpp"

namespace viaduct {

// Which model [model] and [data] ask for: its shape, its images, where its weights are.
struct ModelSource {
  VitConfig config;
  ImageProcessor processor;
  std::string folder;  // of the weights; empty: random ones
};
// `classes`: those of the data, which become the model's labels; empty: the model's own stay.
ModelSource resolve_model(const Config&, const std::vector<std::string>& classes);

MakeTask task_maker(const ModelSource&, const Config&);
StepShape step_shape(const Config&, bool training);
LoaderOptions loader_options(const Config&, Pass, const ImageProcessor&, const Communicator&);  // of this rank
std::string plan_text(const MemoryPlan&);  // "1.83 GiB a rank: parameters .., ..": for the start of the log

class Engine {
 public:
  // Collective. Plans, checks the plans of the host's ranks against its free memory, allocates.
  Engine(const ModelSource&, const Config&, bool training, Communicator&);

  // Weights of the source, read by rank 0 and sent to the others.
  void load_weights(uint64_t seed);
  // After the optimizer's master values were set from outside, on every rank.
  void master_changed();

  Task& task() { return *task_; }
  Workspace& work() { return *work_; }
  AdamW& optimizer() { return *optimizer_; }  // training only
  const ModelSource& source() const { return source_; }
  const MemoryPlan& plan() const { return plan_; }
  int64_t parameter_count() const { return task_->parameters().count(); }

 private:
  ModelSource source_;
  Communicator& comm_;
  MemoryPlan plan_;
  std::unique_ptr<Task> task_;
  std::unique_ptr<Workspace> work_;
  std::unique_ptr<AdamW> optimizer_;
};

}  // namespace viaduct
