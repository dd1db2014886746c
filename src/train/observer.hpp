// Who watches a run: the metrics file, the progress bar, tests.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "train/nonfinite.hpp"

namespace viaduct {

// One optimizer step. Rates and times are of training alone: evaluations and checkpoints are not in them.
struct StepReport {
  int64_t step = 0, total_steps = 0;  // step counts from 1: updates done
  double epoch = 0;                   // passes over the data, a fraction
  int64_t samples = 0;                // seen since the run began, all ranks
  double loss = 0;                    // mean over the global batch, before the update
  double learning_rate = 0;
  double grad_norm = 0;           // before clipping
  double seconds = 0;             // of this step
  int64_t step_samples = 0;       // in it, all ranks
  double samples_per_second = 0;  // all ranks
  // A step's, of this rank. Where a device works through the step while the host is ahead of it, only data_seconds and
  // device_seconds are known, and the others are 0.
  double data_seconds = 0, forward_seconds = 0, backward_seconds = 0, comm_seconds = 0, optimizer_seconds = 0;
  double device_seconds = 0;
  int64_t quarantined = 0;  // samples replaced, all ranks, since the run began
  int64_t left_out = 0;     // steps without an update, because they were not finite, since the run began
};

class Observer {
 public:
  virtual ~Observer() = default;
  virtual void stepped(const StepReport&) {}  // every step, times and rates since the step before
  virtual void evaluated(int64_t /*step*/, double /*epoch*/, const std::map<std::string, double>& /*metrics*/) {}
  // A step, counted from 1, that was not finite has changed nothing; stepped() follows.
  virtual void left_out(int64_t /*step*/, double /*epoch*/, const Nonfinite&) {}
  virtual void saved(int64_t /*step*/, const std::string& /*folder*/) {}
};

}  // namespace viaduct
