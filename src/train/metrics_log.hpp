// metrics.jsonl: one JSON object a line, for every logged step and every evaluation.
#pragma once
#include <optional>
#include <string>

#include "core/base/files.hpp"
#include "train/observer.hpp"

namespace viaduct {

// The steps since the last line: loss, gradient norm and learning rate are those of the last step; times and rates are
// means over all of them.
class StepWindow {
 public:
  void add(const StepReport&);
  StepReport take();  // and begins anew
  bool empty() const { return steps_ == 0; }

 private:
  StepReport sums_;
  int64_t steps_ = 0, samples_ = 0;
};

class MetricsLog final : public Observer {
 public:
  // Opens for appending. Lines after `last_step` are cut off first: a resumed run says them again.
  MetricsLog(const std::string& path, int64_t last_step, int64_t log_every);
  void stepped(const StepReport&) override;
  void evaluated(int64_t step, double epoch, const std::map<std::string, double>& metrics) override;
  void left_out(int64_t step, double epoch, const Nonfinite&) override;
  void saved(int64_t step, const std::string& folder) override;  // to the disk, with the checkpoint
  // {"step": .., "epoch": .., then the fields}: the totals of a run.
  void write(int64_t step, double epoch, const std::map<std::string, double>& fields);

 private:
  std::optional<FileAppender> file_;
  int64_t log_every_;
  StepWindow window_;
};

}  // namespace viaduct
