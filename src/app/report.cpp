#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "app/commands.hpp"

namespace viaduct::app {
namespace {

struct Row {
  std::string run, outcome = "running?";
  int64_t step = 0;
  double epoch = 0, loss = NAN, eval_loss = NAN, best_accuracy = NAN, rate = NAN;
};

// What metrics.jsonl and verdict.json say; a line that is no JSON object (a run writes its last one just now) is passed
// over.
Row read_run(const std::string& folder) {
  Row row{.run = folder};
  std::ifstream metrics(folder + "/metrics.jsonl"), verdict(folder + "/verdict.json");
  if (!metrics && !verdict)
    fail_input(fmt::format("{} is no run folder: it has neither metrics.jsonl nor verdict.json", folder));
  auto number = [](const nlohmann::json& object, const char* key, double fallback) {
    auto it = object.find(key);
    return it != object.end() && it->is_number() ? it->get<double>() : fallback;
  };
  for (std::string line; std::getline(metrics, line);) {
    auto object = nlohmann::json::parse(line, nullptr, false);
    if (!object.is_object()) continue;
    row.step = int64_t(number(object, "step", double(row.step)));
    row.epoch = number(object, "epoch", row.epoch);
    row.loss = number(object, "loss", row.loss);
    row.rate = number(object, "samples_per_second", row.rate);
    row.eval_loss = number(object, "eval_loss", row.eval_loss);
    row.best_accuracy = std::fmax(row.best_accuracy, number(object, "eval_accuracy", NAN));
  }
  auto object = nlohmann::json::parse(verdict, nullptr, false);
  if (object.is_object() && object.contains("outcome") && object["outcome"].is_string())
    row.outcome = object["outcome"];
  return row;
}

std::string show(double value, int digits) { return std::isnan(value) ? "-" : fmt::format("{:.{}f}", value, digits); }

Exit run(const Invocation& call) {
  if (call.subjects.empty()) fail_config("viaduct report needs run folders: viaduct report RUN ...");
  std::vector<Row> rows;
  size_t width = 3;
  for (const std::string& folder : call.subjects)
    rows.push_back(read_run(folder)), width = std::max(width, folder.size());
  fmt::print("{:<{}}  {:<10} {:>8} {:>7} {:>9} {:>9} {:>13} {:>9}\n", "run", width, "outcome", "step", "epoch", "loss",
             "eval_loss", "best accuracy", "images/s");
  for (const Row& r : rows)
    fmt::print("{:<{}}  {:<10} {:>8} {:>7} {:>9} {:>9} {:>13} {:>9}\n", r.run, width, r.outcome, r.step,
               show(r.epoch, 2), show(r.loss, 4), show(r.eval_loss, 4), show(r.best_accuracy, 4), show(r.rate, 1));
  return Exit::ok;
}

}  // namespace

const Command report_command = {"report",
                                "RUN ...",
                                "a table of finished and running runs",
                                "Reads metrics.jsonl and verdict.json of every run folder named.",
                                {},
                                1000,
                                true,
                                run};

}  // namespace viaduct::app
