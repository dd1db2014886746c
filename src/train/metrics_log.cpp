#include "train/metrics_log.hpp"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/base/check.hpp"

namespace viaduct {
namespace {

// What adds up over steps besides their seconds.
constexpr double StepReport::*kParts[] = {&StepReport::data_seconds,      &StepReport::forward_seconds,
                                          &StepReport::backward_seconds,  &StepReport::comm_seconds,
                                          &StepReport::optimizer_seconds, &StepReport::device_seconds};

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
  for (double StepReport::*part : kParts) sums.*part += sums_.*part;
  sums_ = sums;
  samples_ += report.step_samples, ++steps_;
}

StepReport StepWindow::take() {
  StepReport mean = sums_;
  mean.samples_per_second = double(samples_) / mean.seconds;
  mean.seconds /= double(steps_);
  for (double StepReport::*part : kParts) mean.*part /= double(steps_);
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
  const std::string parts =
      m.device_seconds > 0
          ? fmt::format(R"("device_seconds": {})", number(m.device_seconds))
          : fmt::format(R"("forward_seconds": {}, "backward_seconds": {}, "comm_seconds": {}, "optimizer_seconds": {})",
                        number(m.forward_seconds), number(m.backward_seconds), number(m.comm_seconds),
                        number(m.optimizer_seconds));
  file_->append(fmt::format(R"({{"step": {}, "epoch": {}, "samples": {}, "loss": {}, "lr": {}, "grad_norm": {}, )"
                            R"("samples_per_second": {}, "data_seconds": {}, {}, "quarantined": {}, "left_out": {}}})"
                            "\n",
                            m.step, number(m.epoch), m.samples, number(m.loss), number(m.learning_rate),
                            number(m.grad_norm), number(m.samples_per_second), number(m.data_seconds), parts,
                            m.quarantined, m.left_out));
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
