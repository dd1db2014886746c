// A model with its memory, ready to run: what training, evaluation, prediction and benchmarks have in common.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/ops/workspace.hpp"
#include "core/optim/adamw.hpp"
#include "train/batch_upload.hpp"
#include "train/checkpoint.hpp"
#include "train/config.hpp"
#include "train/data_source.hpp"
#include "train/model_source.hpp"
#include "train/plan.hpp"

namespace viaduct {

// Without a communicator the tasks are for planning only.
MakeTask task_maker(const ModelSource&, const Config&, int64_t ranks, Communicator* = nullptr);
StepShape step_shape(const Config&, const TaskChoice&, Device::Kind, bool training, int rank = 0, int ranks = 1);
int64_t ranks_of_this_host(Communicator&);  // collective
std::string plan_text(const MemoryPlan&);   // "1.83 GiB a rank: parameters .., ..": for the start of the log

class Engine {
 public:
  // Collective. Plans, checks the plans of the host's ranks against its free memory, allocates. products: which
  // algorithms a checkpoint has chosen (product_choice.hpp), or nothing.
  Engine(const ModelSource&, const Config&, bool training, Communicator&, const std::string& products = "");

  // Weights of the source, read by rank 0 and sent to the others.
  void load_weights(uint64_t seed);
  // After the optimizer's master values were set from outside, on every rank.
  void master_changed();
  // Training only, where there is a moving average, on every rank: the weights become it and it becomes the weights.
  // Twice: as before, to the bit.
  void exchange_average();
  // Training only. What this rank has of a checkpoint.
  OptimizerTensors checkpoint_tensors() const;
  // Training only, of every parameter, from whichever rank has it. Where the optimizer is divided a call is collective,
  // and rank 0 alone gets the values.
  CheckpointValues checkpoint_values() const;
  // What the other ranks do meanwhile: they give their part.
  void give_values(const ValuesOf&) const;

  Task& task() { return *task_; }
  Teacher* teacher() const { return task_->teacher(); }
  Workspace& work() { return *work_; }
  AdamW& optimizer() { return *optimizer_; }  // training only
  BatchUpload& upload() { return *upload_; }
  Device device() const { return device_; }
  const ModelSource& source() const { return source_; }
  const MemoryPlan& plan() const { return plan_; }
  int64_t batch_size() const { return batch_size_; }  // samples of a pass, at most
  int64_t parameter_count() const { return task_->parameters().count(); }

 private:
  void check_memory(const MakeTask&, const StepShape&) const;
  std::vector<ValuePart> masters() const;  // of this rank
  const float* gather_to_first(const Parameter&, Tensor own, std::vector<float>& all) const;
  void bring(float* to, Tensor from) const;  // to host memory
  ValuesOf gathered(Tensor own) const;     // one value per element of the optimizer's range
  ModelSource source_;
  Communicator& comm_;
  Device device_;
  int64_t batch_size_;
  MemoryPlan plan_;
  std::unique_ptr<Task> task_;
  std::unique_ptr<Workspace> work_;
  std::unique_ptr<BatchUpload> upload_;
  std::unique_ptr<AdamW> optimizer_;
  Buffer frozen_buffer_;
  Tensor frozen_master_;       // fp32 in training; absent when nothing is frozen
  std::vector<Range> shards_;  // of the optimizer, a rank each; empty when every rank has all of it
};

}  // namespace viaduct
