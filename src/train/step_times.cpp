#include "train/step_times.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace viaduct {
namespace {

double percentile_95(std::vector<double> values) {  // the nearest rank
  auto at = values.begin() + (int64_t(std::ceil(0.95 * double(values.size()))) - 1);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

}  // namespace

void StepTimes::add(const std::string& name, double seconds) {
  auto [found, is_new] = series_.try_emplace(name);
  if (is_new) order_.push_back(name);
  Series& series = found->second;
  series.sum += seconds;
  if (series.last.size() < kRemembered)
    series.last.push_back(seconds);
  else
    series.last[size_t(steps_) % kRemembered] = seconds;
}

void StepTimes::stepped(const StepReport& report) {
  if (++seen_ <= kWarmup) return;
  add("step", report.seconds);
  for (const StepPart& part : known_parts(report)) add(part.name, report.*part.seconds);
  ++steps_;
}

std::vector<StepTimes::Part> StepTimes::parts() const {
  std::vector<Part> parts;
  for (const std::string& name : order_) parts.push_back({name, mean(name), percentile_95(series_.at(name).last)});
  return parts;
}

double StepTimes::mean(const std::string& part) const {
  auto found = series_.find(part);
  return found == series_.end() ? 0 : found->second.sum / double(steps_);
}

std::map<std::string, double> StepTimes::metrics() const {
  std::map<std::string, double> metrics;
  for (const Part& part : parts()) {
    metrics["train_" + part.name + "_seconds"] = part.mean;
    metrics["train_" + part.name + "_seconds_p95"] = part.p95;
  }
  return metrics;
}

std::string StepTimes::line() const {
  std::string text;
  for (const Part& part : parts()) {
    const char* before = text.empty()          ? "seconds of a step, mean (95th percentile): "
                         : part.name == "data" ? "; "
                                               : ", ";
    text += fmt::format("{}{} {:.3g} ({:.3g})", before, part.name, part.mean, part.p95);
  }
  return text;
}

}  // namespace viaduct
