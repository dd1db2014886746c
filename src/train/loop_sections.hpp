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

// What images are trained on besides data.augment, and what a classifier is told of them: see data/mixing.hpp.
struct AugmentSection {
  double mixup = 0, cutmix = 0, mix_probability = 1, cutmix_share = 0.5, random_erasing = 0, label_smoothing = 0;
  template <class V>
  void fields(V&& v) {
    v("mixup", mixup, rule::between(0, rule::kSome),
      "classification: images are blended with others, by a share drawn from Beta(mixup, mixup); 0: not");
    v("cutmix", cutmix, rule::between(0, rule::kSome),
      "classification: a rectangle of another image, its area drawn from Beta(cutmix, cutmix); 0: not");
    v("mix_probability", mix_probability, rule::part_of_one(), "with which an image is mixed at all");
    v("cutmix_share", cutmix_share, rule::probability(), "of the mixed images, where mixup is on too");
    v("random_erasing", random_erasing, rule::probability(),
      "probability with which a rectangle of an image becomes its mean colour");
    v("label_smoothing", label_smoothing, rule::between(0, 1),
      "classification: share of a label that is spread over all classes");
  }
};

// The exponential moving average of the weights.
struct AverageSection {
  double decay = 0;
  bool evaluate = true;
  template <class V>
  void fields(V&& v) {
    v("decay", decay, rule::between(0, 1),
      "a moving average of the weights, kept in checkpoints and written to average/: each step takes 1 - decay of the "
      "new weights; 0: none");
    v("evaluate", evaluate, rule::text(), "evaluations, and with them best/ and [stop], are of the average");
  }
};

}  // namespace viaduct
