#include "train/metrics_log.hpp"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/base/check.hpp"
#include "train/step_parts.hpp"

namespace viaduct {
namespace {

std::string number(double value) { return std::isfinite(value) ? fmt::format("{}", value) : "null"; }

// The lines of complete JSON objects up to `last_step`; a torn last line is dropped.
std::string lines_until(const std::string& path, int64_t last_step) {
  std::ifstream file(path);
  std::string kept, line;
  while (std::getline(file, line)) {
    auto object = nlohmann::json::parse(line, nullptr, false);
    if (!object.is_object() || !object.contains("step") || !object["step"].is_number()) continue;
    if (object["step"].get<int64_t>() <= last_step) kept += line + "\n";
  }
  return kept;
}

}  // namespace

void StepWindow::add(const StepReport& report) {
  StepReport sums = report;
  sums.seconds += sums_.seconds;
  for (const StepPart& part : kStepParts) sums.*part.seconds += sums_.*part.seconds;
  sums_ = sums;
  samples_ += report.step_samples, ++steps_;
}

StepReport StepWindow::take() {
  StepReport mean = sums_;
  mean.samples_per_second = double(samples_) / mean.seconds;
  mean.seconds /= double(steps_);
  for (const StepPart& part : kStepParts) mean.*part.seconds /= double(steps_);
  sums_ = {}, steps_ = samples_ = 0;
  return mean;
}

MetricsLog::MetricsLog(const std::string& path, int64_t last_step, int64_t log_every) : log_every_(log_every) {
  if (std::filesystem::exists(path)) write_file_durable(path, lines_until(path, last_step));
  file_.emplace(path);
}

void MetricsLog::stepped(const StepReport& report) {
  window_.add(report);
  if (report.step % log_every_ != 0 && report.step != report.total_steps) return;
  StepReport m = window_.take();
  std::string parts;
  for (const StepPart& part : known_parts(m))
    parts += fmt::format(R"("{}_seconds": {}, )", part.name, number(m.*part.seconds));
  file_->append(fmt::format(R"({{"step": {}, "epoch": {}, "samples": {}, "loss": {}, "lr": {}, "grad_norm": {}, )"
                            R"("samples_per_second": {}, {}"quarantined": {}, "left_out": {}}})"
                            "\n",
                            m.step, number(m.epoch), m.samples, number(m.loss), number(m.learning_rate),
                            number(m.grad_norm), number(m.samples_per_second), parts, m.quarantined, m.left_out));
}

void MetricsLog::left_out(int64_t step, double epoch, const Nonfinite& what) {
  const nlohmann::ordered_json line = {
      {"step", step}, {"epoch", epoch}, {"nonfinite", what.tensor}, {"samples", what.samples}};
  file_->append(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void MetricsLog::evaluated(int64_t step, double epoch, const std::map<std::string, double>& metrics) {
  write(step, epoch, metrics);
}

void MetricsLog::saved(int64_t, const std::string&) { file_->sync(); }

void MetricsLog::write(int64_t step, double epoch, const std::map<std::string, double>& fields) {
  std::string line = fmt::format(R"({{"step": {}, "epoch": {})", step, number(epoch));
  for (const auto& [name, value] : fields) line += fmt::format(R"(, "{}": {})", name, number(value));
  file_->append(line + "}\n");
}

}  // namespace viaduct
