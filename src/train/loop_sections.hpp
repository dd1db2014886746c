// The sections of a configuration that say how the loop of training goes on and ends, and what it is shown.
#pragma once
#include <optional>
#include <string>

#include "train/rule.hpp"

namespace viaduct {

// The metrics that a run can be steered by: eval_loss is better the smaller, the others the larger.
inline Rule monitored_metric() {
  return rule::choice(
      {"none", "eval_loss", "eval_accuracy", "eval_image_to_text_recall@1", "eval_text_to_image_recall@1"});
}
// Whether a smaller value of the metric is better; `mode`: auto, min or max.
inline bool smaller_is_better(const std::string& metric, const std::string& mode) {
  return mode == "auto" ? metric == "eval_loss" : mode == "min";
}

// Early stopping, as Lightning's EarlyStopping: see train/early_stopping.hpp.
struct StopSection {
  std::string monitor = "none", mode = "auto";
  double min_delta = 0;
  int64_t patience = 3;
  std::optional<double> stopping_threshold, divergence_threshold;
  bool check_finite = true;
  template <class V>
  void fields(V&& v) {
    v("monitor", monitor, monitored_metric(), "metric of an evaluation by which the run ends early");
    v("mode", mode, rule::choice({"auto", "min", "max"}), "which values are better; auto: min of a loss, else max");
    v("min_delta", min_delta, rule::at_least(0), "an improvement is more than this");
    v("patience", patience, rule::at_least(0), "evaluations in a row without improvement that end the run");
    v("stopping_threshold", stopping_threshold, rule::text(), "a value better than this ends the run");
    v("divergence_threshold", divergence_threshold, rule::text(), "a value worse than this ends the run");
    v("check_finite", check_finite, rule::text(), "a value that is not finite ends the run");
  }
};

}  // namespace viaduct
