#include "train/run_length.hpp"

#include <cmath>

#include "core/base/check.hpp"

namespace viaduct {
namespace {

double wanted_steps(const Config& config, const BatchPlan& batches) {
  if (config.train.samples == 0) return std::ceil(config.train.epochs * double(batches.steps_per_epoch()));
  const int64_t whole = config.train.samples / batches.samples, rest = config.train.samples % batches.samples;
  return double(whole) * double(batches.steps_per_epoch()) + double(ceil_div(rest, batches.global_batch()));
}

}  // namespace

int64_t total_steps(const Config& config, const BatchPlan& batches) {
  if (config.train.steps > 0) return config.train.steps;
  const std::string key = config.train.samples > 0 ? "train.samples" : "train.epochs";
  const std::string length = fmt::format("{} = {}", key, value_text(config, key));
  const double steps = wanted_steps(config, batches);
  if (steps >= rule::kMany)
    fail_config(fmt::format("{} are {} steps; expected fewer than {}", length, steps, rule::kMany));
  if (config.train.warmup > steps)
    fail_config(fmt::format("train.warmup = {} is more than the {} steps of {}", config.train.warmup, steps, length));
  return int64_t(steps);
}

double TimeLimit::seconds() const {
  if (!began_) return before_;
  return before_ + std::chrono::duration<double>(std::chrono::steady_clock::now() - *began_).count();
}

}  // namespace viaduct
