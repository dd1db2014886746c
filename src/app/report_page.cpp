#include "app/report_page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "app/chart.hpp"
#include "app/html.hpp"
#include "app/report_style.hpp"
#include "app/report_tables.hpp"

namespace viaduct::app {
namespace {

constexpr const char* kPolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

using Runs = std::vector<RunData>;

double last_of(const RunData& run, const std::string& field) {
  const Series& points = run.of(field);
  return points.empty() ? NAN : points.back().y;
}

double total_or_last(const RunData& run, const char* total, const char* field) {
  auto found = run.totals.find(total);
  return found != run.totals.end() ? found->second : last_of(run, field);
}

std::string tile(const std::string& value, const std::string& what) {
  return fmt::format("<div><b>{}</b><span>{}</span></div>\n", value, what);
}

std::string duration(double seconds) {
  const auto s = int64_t(seconds + 0.5);
  if (s < 120) return fmt::format("{:.1f} s", seconds);
  return s < 7200 ? fmt::format("{} min {:02} s", s / 60, s % 60)
                  : fmt::format("{} h {:02} min", s / 3600, s / 60 % 60);
}

std::string tiles_of(const RunData& run) {
  std::string tiles = tile(figure(double(run.step)), fmt::format("steps, {:.3g} epochs", run.epoch));
  if (const double loss = last_of(run, "loss"); !std::isnan(loss)) tiles += tile(figure(loss), "last loss");
  if (const double loss = last_of(run, "eval_loss"); !std::isnan(loss)) tiles += tile(figure(loss), "held-out loss");
  if (const Series& accuracy = run.of("eval_accuracy"); !accuracy.empty()) {
    const double best =
        std::max_element(accuracy.begin(), accuracy.end(), [](auto& a, auto& b) { return a.y < b.y; })->y;
    tiles += tile(fmt::format("{:.1f} %", 100 * accuracy.back().y),
                  fmt::format("held-out accuracy, best {:.1f} %", 100 * best));
  }
  if (const double rate = total_or_last(run, "train_samples_per_second", "samples_per_second"); !std::isnan(rate))
    tiles += tile(figure(rate), "samples a second");
  if (auto seconds = run.totals.find("train_runtime"); seconds != run.totals.end())
    tiles += tile(duration(seconds->second), "run time");
  int64_t bytes = 0;
  for (const auto& [category, part] : run.memory) bytes += part;
  if (bytes > 0) tiles += tile(bytes_text(bytes), "memory of a rank, planned");
  return "<div class=\"tiles\">\n" + tiles + "</div>\n";
}

std::string note(const char* kind, const std::string& text) {
  return text.empty() ? "" : fmt::format("<p class=\"note {}\">{}</p>\n", kind, escape(text));
}

std::string facts_line(const RunData& run) {
  std::string line = run.fact("model");
  if (const double n = std::strtod(run.fact("parameters").c_str(), nullptr); n > 0)
    line += n < 1e6 ? fmt::format(", {} parameters", figure(n)) : fmt::format(", {:.1f} M parameters", n / 1e6);
  if (auto ranks = run.fact("ranks"); !ranks.empty())
    line += fmt::format(" · {} {} on {} ({})", ranks, ranks == "1" ? "rank" : "ranks", run.fact("host"),
                        run.fact("device"));
  return line;
}

std::string card(const RunData& run, size_t i) {
  const char* kind = run.outcome == "completed"                                ? "completed"
                     : run.outcome == "running?" || run.outcome == "preempted" ? "open"
                                                                               : "failed";
  std::string html = fmt::format(
      "<section class=\"card {}\"><span class=\"badge {}\">{}</span><h3 title=\"{}\">{}</h3>\n<p "
      "class=\"soft\">{}</p>\n{}",
      colour_of(i), kind, escape(run.outcome), escape(run.folder), escape(run.name), escape(facts_line(run)),
      tiles_of(run));
  if (run.outcome != "completed") html += note(kind, run.message);
  html += note("bound", run.fact("bound"));
  for (const std::string& fault : run.faults) html += note("", fault);
  return html + "</section>\n";
}

// The field of every run, as curves.
void add_curves(Chart& chart, const Runs& runs, const std::string& field, bool dots, const char* suffix = "") {
  for (size_t i = 0; i < runs.size(); ++i)
    chart.curves.push_back({runs[i].name + suffix, colour_of(i), runs[i].of(field), dots});
}

// Of evaluations, but for the usual ones and those that say how long they took; each has a chart of its own.
std::set<std::string> other_evaluations(const Runs& runs) {
  std::set<std::string> fields;
  for (const RunData& run : runs)
    for (const auto& [field, points] : run.series)
      if (field.starts_with("eval_") && field != "eval_loss" && field != "eval_accuracy" && field != "eval_runtime" &&
          field != "eval_samples_per_second" && field != "eval_quarantined")
        fields.insert(field);
  return fields;
}

std::string curves(const Runs& runs) {
  Chart loss{.title = "Loss", .unit = "training; dots: held out", .curves = {}, .from_zero = false};
  add_curves(loss, runs, "loss", false), add_curves(loss, runs, "eval_loss", true, " held out");
  std::string html = line_chart(loss);
  auto add = [&](const std::string& field, const std::string& title, const char* unit, bool dots, bool from_zero) {
    Chart chart{.title = title, .unit = unit, .curves = {}, .from_zero = from_zero};
    add_curves(chart, runs, field, dots);
    html += line_chart(chart);
  };
  add("eval_accuracy", "Held-out accuracy", "of evaluations", true, false);
  add("lr", "Learning rate", "", false, true);
  add("samples_per_second", "Throughput", "samples a second, all ranks", false, true);
  add("grad_norm", "Gradient norm", "before clipping", false, true);
  for (const std::string& field : other_evaluations(runs)) add(field, field, "of evaluations", true, false);
  return html.empty() ? "" : "<h2>Curves</h2>\n<div class=\"charts\">\n" + html + "</div>\n";
}

std::string time_split(const Runs& runs) {
  std::string charts;
  for (const RunData& run : runs) {
    Chart chart{.title = run.name, .unit = "seconds of a step", .curves = {}, .from_zero = true};
    for (const char* part : kParts)
      if (const Series& points = run.of(std::string(part) + "_seconds"); !points.empty())
        chart.curves.push_back({part, std::string("p-") + part, points});
    charts += stacked_chart(chart);
  }
  if (charts.empty()) return "";
  return "<h2>Where the time of a step goes</h2>\n" + time_table(runs) +
         "<div class=\"charts\" style=\"margin-top:1rem\">\n" + charts + "</div>\n";
}

}  // namespace

std::string report_page(const Runs& runs) {
  const std::string title =
      runs.size() == 1 ? runs[0].name : fmt::format("{} and {} more", runs[0].name, runs.size() - 1);
  std::string html = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" "
      "content=\"{}\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{} · "
      "Viaduct</title>\n<style>{}</style></head>\n<body><header><p class=\"soft\">Viaduct · report</p>\n<h1>{}</h1>\n"
      "</header>\n<main>\n",
      kPolicy, escape(title), kReportStyle,
      runs.size() == 1 ? escape(runs[0].folder) : fmt::format("{} runs compared", runs.size()));
  html += "<div class=\"cards\">\n";
  for (size_t i = 0; i < runs.size(); ++i) html += card(runs[i], i);
  html += "</div>\n" + curves(runs) + time_split(runs) + memory_bars(runs) + metrics_table(runs) + settings_table(runs);
  return html +
         "</main>\n<footer>Written by <code>viaduct report</code>. Times are those of rank 0; a bold curve is a "
         "running mean over a twentieth of the faint one.</footer></body></html>\n";
}

}  // namespace viaduct::app
