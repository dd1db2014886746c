// How long a run is, in steps and by the clock.
#pragma once
#include <chrono>

#include "data/sampler.hpp"
#include "train/config.hpp"

namespace viaduct {

// Of train.steps, train.samples or train.epochs; a config error when train.warmup is not among them.
int64_t total_steps(const Config&, const BatchPlan&);

// train.max_seconds, over all parts of a run that was resumed.
class TimeLimit {
 public:
  explicit TimeLimit(double limit) : limit_(limit) {}  // 0: none
  void resume(double seconds) { before_ = seconds; }   // of the parts before
  void begin() { began_ = std::chrono::steady_clock::now(); }
  double seconds() const;
  bool up() const { return limit_ > 0 && seconds() >= limit_; }
  bool was_up() const { return limit_ > 0 && before_ >= limit_; }  // already when this part began

 private:
  double limit_, before_ = 0;
  std::optional<std::chrono::steady_clock::time_point> began_;
};

}  // namespace viaduct
