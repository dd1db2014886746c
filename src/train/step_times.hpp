// Where the time of a run's steps went: the mean and the 95th percentile of every part, on one rank.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "train/step_parts.hpp"

namespace viaduct {

class StepTimes final : public Observer {
 public:
  static constexpr int64_t kWarmup = 3;         // steps left out: caches and pages are cold then
  static constexpr size_t kRemembered = 65536;  // steps of which a percentile is taken: the last ones

  void stepped(const StepReport&) override;
  bool empty() const { return steps_ == 0; }

  // "step" with the whole of it, then the parts that are known.
  struct Part {
    std::string name;
    double mean = 0, p95 = 0;  // seconds; p95: 95 of 100 steps took no longer
  };
  std::vector<Part> parts() const;
  double mean(const std::string& part) const;     // 0 where it is not known
  std::map<std::string, double> metrics() const;  // train_step_seconds, train_step_seconds_p95, ...
  std::string line() const;                       // the same for the log

 private:
  struct Series {
    double sum = 0;
    std::vector<double> last;  // a ring of kRemembered
  };
  void add(const std::string& name, double seconds);
  std::vector<std::string> order_;
  std::map<std::string, Series> series_;
  int64_t seen_ = 0, steps_ = 0;
};

}  // namespace viaduct
