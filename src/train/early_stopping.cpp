#include "train/early_stopping.hpp"

#include <cmath>

#include "core/base/check.hpp"
#include "core/base/log.hpp"

namespace viaduct {
namespace {

std::string text_of(std::optional<double> value) { return value ? fmt::format("{}", *value) : "none"; }

}  // namespace

EarlyStopping::EarlyStopping(const StopSection& section)
    : section_(section),
      smaller_(smaller_is_better(section.monitor, section.mode)),
      best_(smaller_ ? INFINITY : -INFINITY) {}

void EarlyStopping::check(double current) {
  const std::string& name = section_.monitor;
  const std::optional<double>&target = section_.stopping_threshold, &limit = section_.divergence_threshold;
  if (section_.check_finite && !std::isfinite(current)) {
    reason_ = fmt::format("{} = {} is not finite (stop.check_finite)", name, current);
  } else if (target && better(current, *target)) {
    reason_ = fmt::format("{} = {} is better than stop.stopping_threshold = {}", name, current, *target);
  } else if (limit && better(*limit, current)) {
    reason_ = fmt::format("{} = {} is worse than stop.divergence_threshold = {}", name, current, *limit);
  } else if (better(smaller_ ? current + section_.min_delta : current - section_.min_delta, best_)) {
    best_ = current, waiting_ = 0;
  } else if (++waiting_ >= section_.patience) {
    reason_ = fmt::format("{} has not improved on {} in {} evaluations (stop.patience)", name, best_, waiting_);
  }
}

std::string EarlyStopping::settings() const {
  return fmt::format("min_delta {}, patience {}, thresholds {} and {}, check_finite {}", section_.min_delta,
                     section_.patience, text_of(section_.stopping_threshold), text_of(section_.divergence_threshold),
                     section_.check_finite);
}

// The best may be infinite, which JSON's numbers are not.
void EarlyStopping::save(RunState& state) const {
  if (!wanted()) return;
  state.set("stop.metric", fmt::format("{} {}", smaller_ ? "min" : "max", section_.monitor));
  state.set("stop.settings", settings());
  state.set("stop.best", fmt::format("{}", best_));
  state.set("stop.waiting", waiting_);
  state.set("stop.reason", reason_);
}

void EarlyStopping::restore(const RunState& state) {
  if (!wanted() || !state.has("stop.metric")) return;
  RunState mine;
  save(mine);
  if (state.text("stop.metric") != mine.text("stop.metric"))
    return log::warn("early stopping watched {}, and this run watches {}: it begins anew", state.text("stop.metric"),
                     mine.text("stop.metric"));
  const std::string& best = state.text("stop.best");
  char* end = nullptr;
  best_ = std::strtod(best.c_str(), &end), waiting_ = state.integer("stop.waiting");
  if (best.empty() || *end) fail_input(fmt::format("the checkpoint's state.json: stop.best = '{}' is no number", best));
  if (state.text("stop.settings") == mine.text("stop.settings")) reason_ = state.text("stop.reason");
}

}  // namespace viaduct
