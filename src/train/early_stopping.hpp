// Early stopping with the semantics of Lightning's EarlyStopping (2.6). The tests of an evaluation, in this order:
//   check_finite and not finite            -> stop
//   better than stopping_threshold         -> stop
//   worse than divergence_threshold        -> stop
//   better than the best by > min_delta    -> the new best, the count of waiting evaluations is 0
//   otherwise                              -> one more waits; at `patience` of them, stop
// Every comparison is strict; a value that is not a number is never better.
#pragma once
#include <limits>
#include <string>

#include "train/loop_sections.hpp"
#include "train/run_state.hpp"

namespace viaduct {

class EarlyStopping {
 public:
  explicit EarlyStopping(const StopSection&);
  bool wanted() const { return section_.monitor != "none"; }
  const std::string& monitor() const { return section_.monitor; }

  void check(double current);  // one evaluation's value of the metric
  // Why the run is to end, a sentence; empty: it goes on.
  const std::string& reason() const { return reason_; }
  int64_t waiting() const { return waiting_; }
  double best() const { return best_; }

  void save(RunState&) const;
  // What was saved of another metric or mode is left alone, as Lightning does; a run that had stopped goes on when its
  // settings are others now.
  void restore(const RunState&);

 private:
  bool better(double a, double b) const { return smaller_ ? a < b : a > b; }
  std::string settings() const;

  StopSection section_;
  bool smaller_;  // values are better
  double best_;
  int64_t waiting_ = 0;
  std::string reason_;
};

}  // namespace viaduct
