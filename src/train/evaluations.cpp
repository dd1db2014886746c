#include "train/evaluations.hpp"

#include <cmath>

#include "core/base/log.hpp"

namespace viaduct {

Evaluations::Evaluations(const Config& config, const std::string& data)
    : metric_(config.run.best),
      smaller_(smaller_is_better(config.run.best, config.run.best_mode)),
      best_of_(data.empty() ? "none" : config.run.best + " of " + data),
      stopping_(config.stop) {}

void Evaluations::add(int64_t step, const std::map<std::string, double>& metrics, Communicator& comm) {
  auto agreed = [&](const std::string& name) {
    return std::stod(comm.broadcast_text(fmt::format("{}", metrics.at(name)), 0));
  };
  last_step_ = step, improved_ = false;
  if (metric_ != "none") {
    last_ = agreed(metric_);
    const double sign = smaller_ ? -1 : 1;
    if (std::isfinite(last_) && !(sign * last_ <= sign * best_)) best_ = last_, improved_ = true;
  }
  if (stopping_.wanted()) stopping_.check(agreed(stopping_.monitor()));
}

std::optional<Score> Evaluations::score() const {
  if (!std::isfinite(last_)) return {};
  return Score{last_, smaller_, best_of_};
}

void Evaluations::save(RunState& state) const {
  state.set("evaluated", last_step_);
  if (std::isfinite(best_)) state.set("best_metric", best_), state.set("best_of", best_of_);
  stopping_.save(state);
}

void Evaluations::restore(const RunState& state) {
  last_step_ = state.integer("evaluated");
  stopping_.restore(state);
  if (!state.has("best_metric")) return;
  if (state.text("best_of") == best_of_)
    best_ = state.number("best_metric");
  else
    log::warn("the best so far was {}, and this run asks for {}: the search for the best begins anew",
              state.text("best_of"), best_of_);
}

}  // namespace viaduct
