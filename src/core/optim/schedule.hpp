// Learning-rate schedules with warm-up, as transformers.optimization defines them. Steps count from 0.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "core/base/check.hpp"

namespace viaduct {

struct Schedule {
  std::string name = "linear";  // linear, cosine, constant
  int64_t warmup_steps = 0, total_steps = 1;

  // The factor on the learning rate for update `step`.
  double factor(int64_t step) const {
    if (step < warmup_steps) return double(step) / double(std::max<int64_t>(1, warmup_steps));
    double rest = double(std::max<int64_t>(1, total_steps - warmup_steps));
    if (name == "constant") return 1;
    if (name == "linear") return std::max(0.0, double(total_steps - step) / rest);
    if (name == "cosine") return std::max(0.0, 0.5 * (1 + std::cos(M_PI * double(step - warmup_steps) / rest)));
    fail_config("train.schedule: expected linear, cosine or constant, found '" + name + "'");
  }

  // `warmup` as the configuration gives it: a number of steps, or below 1 a fraction of all steps, rounded up.
  static int64_t warmup_from(double warmup, int64_t total) {
    return warmup < 1 ? int64_t(std::ceil(warmup * double(total))) : int64_t(warmup);
  }
};

}  // namespace viaduct
