#include "train/metrics_log.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/base/check.hpp"

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

MetricsLog::MetricsLog(const std::string& path, int64_t last_step) : path_(path) {
  if (std::filesystem::exists(path)) {
    std::string kept = lines_until(path, last_step), shorter = path + ".new";
    std::ofstream file(shorter, std::ios::trunc);
    if (!(file << kept << std::flush)) fail_input(fmt::format("cannot write {}: {}", shorter, strerror(errno)));
    std::filesystem::rename(shorter, path);
  }
  file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file_ < 0) fail_input(fmt::format("cannot write {}: {}", path, strerror(errno)));
}

MetricsLog::~MetricsLog() { ::close(file_); }

void MetricsLog::append(const std::string& line) {
  std::string text = line + "\n";
  if (::write(file_, text.data(), text.size()) != ssize_t(text.size()))
    fail_input(fmt::format("cannot write {}: {}", path_, strerror(errno)));
}

void MetricsLog::write(const StepMetrics& m) {
  append(fmt::format(R"({{"step": {}, "epoch": {}, "samples": {}, "loss": {}, "lr": {}, "grad_norm": {}, )"
                     R"("samples_per_second": {}, "data_seconds": {}, "forward_seconds": {}, "backward_seconds": {}, )"
                     R"("comm_seconds": {}, "optimizer_seconds": {}}})",
                     m.step, number(m.epoch), m.samples, number(m.loss), number(m.lr), number(m.grad_norm),
                     number(m.samples_per_second), number(m.data), number(m.forward), number(m.backward),
                     number(m.comm), number(m.optimizer)));
}

void MetricsLog::write(int64_t step, double epoch, const std::vector<std::pair<std::string, double>>& fields) {
  std::string line = fmt::format(R"({{"step": {}, "epoch": {})", step, number(epoch));
  for (const auto& [name, value] : fields) line += fmt::format(R"(, "{}": {})", name, number(value));
  append(line + "}");
}

void MetricsLog::sync() {
  if (::fsync(file_) != 0) fail_input(fmt::format("cannot write {}: {}", path_, strerror(errno)));
}

}  // namespace viaduct
