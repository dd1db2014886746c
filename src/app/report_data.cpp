#include "app/report_data.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/base/check.hpp"
#include "core/base/files.hpp"

namespace viaduct::app {
namespace {

using Json = nlohmann::ordered_json;
constexpr double kLargest = 1e30;         // what is beyond cannot be drawn
constexpr int64_t kFileLimit = 16 << 20;  // of the small files

// A number that can be drawn, or NAN.
double number(const Json& object, const std::string& key) {
  auto found = object.find(key);
  const double value = found != object.end() && found->is_number() ? found->get<double>() : NAN;
  return std::abs(value) < kLargest ? value : NAN;
}

void add_line(RunData& run, const Json& object) {
  const double step = number(object, "step"), epoch = number(object, "epoch");
  if (!(step >= 0 && step < 1e15)) return;
  run.step = int64_t(step);
  if (!std::isnan(epoch)) run.epoch = epoch;
  const bool totals = object.contains("train_runtime");
  for (const auto& [key, value] : object.items()) {
    const double y = number(object, key);
    if (key == "step" || key == "epoch" || std::isnan(y)) continue;
    if (totals)
      run.totals[key] = y;
    else
      run.series[key].push_back({step, y});
  }
}

void read_metrics(RunData& run) {
  std::ifstream file(run.folder + "/metrics.jsonl");
  if (!file) return run.faults.push_back("metrics.jsonl is missing: there are no curves");
  int64_t good = 0, bad = 0, nulls = 0;
  bool last_is_bad = false;
  for (std::string line; std::getline(file, line);) {
    const Json object = Json::parse(line, nullptr, false);
    last_is_bad = !object.is_object();
    if (last_is_bad) {
      ++bad;
      continue;
    }
    ++good, nulls += object.contains("loss") && object["loss"].is_null();
    add_line(run, object);
  }
  for (auto& [field, points] : run.series)
    std::stable_sort(points.begin(), points.end(), [](const Point& a, const Point& b) { return a.x < b.x; });
  if (last_is_bad) --bad;  // the run writes it just now, or was stopped at it
  if (bad) run.faults.push_back(fmt::format("{} lines of metrics.jsonl are no JSON objects and are left out", bad));
  if (!good) run.faults.push_back("metrics.jsonl says nothing yet");
  if (nulls) run.faults.push_back(fmt::format("{} logged losses are not finite", nulls));
}

// The object in a file of the run; a sentence and nothing where it is missing or broken.
Json object_of(RunData& run, const char* name, const char* without) {
  const std::string path = run.folder + "/" + name;
  if (!std::filesystem::exists(path)) {
    if (*without) run.faults.push_back(fmt::format("{} is missing: {}", name, without));
    return Json::object();
  }
  try {
    Json object = Json::parse(read_file(path, kFileLimit), nullptr, false);
    if (object.is_object()) return object;
    run.faults.push_back(fmt::format("{} holds no JSON object and is left out", name));
  } catch (const Error& error) {
    run.faults.push_back(error.what());
  }
  return Json::object();
}

std::string text(const Json& object, const char* key) {
  auto found = object.find(key);
  if (found == object.end()) return "";
  return found->is_string() ? found->get<std::string>() : found->is_number() ? found->dump() : "";
}

void read_verdict(RunData& run) {
  const Json verdict = object_of(run, "verdict.json", "");
  if (auto outcome = text(verdict, "outcome"); !outcome.empty()) run.outcome = outcome;
  run.message = text(verdict, "message");
  if (run.outcome == "completed" || run.message.empty()) return;
  run.message += fmt::format(" (rank {} on {}, step {}, in {})", text(verdict, "rank"), text(verdict, "host"),
                             text(verdict, "step"), text(verdict, "phase"));
}

void read_summary(RunData& run) {
  const Json summary = object_of(run, "summary.json", "the memory plan and the machine are not known");
  for (const auto& [key, value] : summary.items())
    if (value.is_string() || value.is_number()) run.facts[key] = text(summary, key.c_str());
  const auto memory = summary.find("memory_bytes");
  if (memory == summary.end() || !memory->is_object()) return;
  for (const auto& [category, unused] : memory->items())
    if (const double bytes = number(*memory, category); bytes > 0 && bytes < 1e18)
      run.memory.emplace_back(category, int64_t(bytes));
}

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r"), end = text.find_last_not_of(" \t\r");
  return begin == text.npos ? "" : text.substr(begin, end - begin + 1);
}

// As it is written, not as this version would read it: a run of another version may have other keys.
void read_settings(RunData& run) {
  std::ifstream file(run.folder + "/config.cfg");
  if (!file) return run.faults.push_back("config.cfg is missing: the configuration is not known");
  std::string section;
  for (std::string line; std::getline(file, line);) {
    const size_t hash = line.find('#'), equals = line.find('=');
    if (line.starts_with('[')) section = line.substr(1, line.find(']') - 1) + ".";
    if (equals >= hash) continue;
    run.settings.push_back({section + trimmed(line.substr(0, equals)),
                            trimmed(line.substr(equals + 1, hash == line.npos ? hash : hash - equals - 1)),
                            hash == line.npos ? "" : trimmed(line.substr(hash + 1))});
  }
  if (run.settings.empty()) run.faults.push_back("config.cfg holds no settings");
}

}  // namespace

const Series& RunData::of(const std::string& field) const {
  static const Series kNone;
  auto found = series.find(field);
  return found == series.end() ? kNone : found->second;
}

std::string RunData::setting(const std::string& key) const {
  for (const Setting& s : settings)
    if (s.key == key) return s.value;
  return "";
}

std::string RunData::fact(const std::string& name) const {
  auto found = facts.find(name);
  return found == facts.end() ? "" : found->second;
}

RunData read_run(const std::string& folder) {
  auto has = [&](const char* name) { return std::filesystem::exists(Path(folder) / name); };
  if (!has("metrics.jsonl") && !has("verdict.json"))
    fail_input(fmt::format("{} is no run folder: it has neither metrics.jsonl nor verdict.json", folder));
  RunData run{.folder = folder};
  const Path path = Path(folder).lexically_normal();
  run.name = (path.has_filename() ? path.filename() : path.parent_path().filename()).string();
  if (run.name.empty() || run.name == "." || run.name == "..") run.name = folder;
  read_metrics(run), read_verdict(run), read_settings(run), read_summary(run);
  return run;
}

}  // namespace viaduct::app
