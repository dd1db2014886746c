// The training loop: what happens between two checkpoints, and when there is one.
#pragma once
#include <functional>
#include <vector>

#include "comm/grad_sync.hpp"
#include "core/device/replay.hpp"
#include "core/ops/workspace.hpp"
#include "core/optim/adamw.hpp"
#include "core/optim/schedule.hpp"
#include "data/loader.hpp"
#include "train/batch_upload.hpp"
#include "train/nonfinite.hpp"
#include "train/observer.hpp"
#include "train/step_numbers.hpp"
#include "train/task.hpp"

namespace viaduct {

struct TrainerOptions {
  int64_t start_step = 0, total_steps = 0, accumulate = 1;
  int64_t eval_every = 0, checkpoint_every = 0, parity_every = 0;  // steps; 0: never
  bool evaluation_owed = false;                                    // at start_step: the run was stopped before it
  bool graph = true;                                               // cuda: replay steps
  bool skip_nonfinite = false;  // a step that is not finite is left out, instead of ending the run
  double learning_rate = 5e-5, clip_norm = 1;
  Schedule schedule;
};

enum class RunEnd { completed, preempted };

class Trainer {
 public:
  // What the loop calls; each may be empty.
  struct Hooks {
    std::function<std::map<std::string, double>(int64_t step)> evaluate;
    // Metrics are those of the last evaluation at this very step, else empty.
    // Returns the checkpoint's folder.
    std::function<std::string(int64_t step, const std::map<std::string, double>& metrics)> save;
    std::function<void(int64_t step)> before_step;  // faults on purpose
    std::function<void(int64_t step)> parity;       // every parity_every steps, when all values have arrived
    std::function<bool()> stop_requested;           // of this rank alone
    // Collective, when some rank was asked to stop: whether the run is over with that, and not to be gone on with.
    std::function<bool()> over;
    std::function<bool()> enough;  // whether the evaluations so far end the run; the same on every rank
    // Collective: what was not finite in that step, counted from 0; `ranks`: those whose loss was not.
    std::function<Nonfinite(int64_t step, const std::vector<int>& ranks)> explain;
  };

  Trainer(Task&, GradSync&, AdamW&, Loader&, BatchUpload&, Workspace&, PhaseClock&, TrainerOptions, Hooks,
          std::vector<Observer*>);

  // Runs to total_steps, until an evaluation ends the run, or to the step at which the ranks agree to stop. Saves at the
  // end in any case; a stop does not wait for an evaluation, unless it is the last.
  RunEnd run();

 private:
  StepTail step();                                           // one optimizer step; the whole of it fits here
  void pass(const Batch&, bool first_pass, bool last_pass);  // all of it on the device, nothing read back
  void update(Tensor step_sums);    // clipping and AdamW, on gradients that are sums over all ranks
  StepTail conclude();              // what the step has left; throws when it diverged
  void leave_out(const StepTail&);  // the step that was not finite, or ends the run
  void report(const StepTail&);
  std::map<std::string, double> evaluate();
  void save(const std::map<std::string, double>& metrics);
  void settle();          // until every rank has all values
  void begin_interval();  // of which the next report tells
  double epoch_at(int64_t step) const {
    return double(loader_.plan().samples_before(step)) / double(loader_.plan().samples);
  }
  double epoch() const { return epoch_at(done_); }

  Task& task_;
  GradSync& sync_;
  AdamW& optimizer_;
  Loader& loader_;
  BatchUpload& upload_;
  Workspace& work_;
  PhaseClock& clock_;
  TrainerOptions options_;
  Hooks hooks_;
  std::vector<Observer*> observers_;
  StepNumbers numbers_;
  Replay replay_;
  int64_t done_ = 0;  // optimizer steps
  StepReport last_;
  std::chrono::steady_clock::time_point last_report_;
};

}  // namespace viaduct
