#include "app/report_tables.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "app/chart.hpp"
#include "app/html.hpp"

namespace viaduct::app {
namespace {

using Runs = std::vector<RunData>;

std::string swatch(const std::string& colour, const std::string& name) {
  return fmt::format("<span><span class=\"swatch {}\"></span>{}</span>", colour, escape(name));
}

std::string head(const Runs& runs, const char* first, const char* kind) {
  std::string html = fmt::format("<tr><th>{}</th>", first);
  for (size_t i = 0; i < runs.size(); ++i)
    html += fmt::format("<th class=\"{}\">{}</th>", kind, swatch(colour_of(i), runs[i].name));
  return html + "</tr>\n";
}

std::string in_panel(const std::string& title, const std::string& html) {
  return fmt::format("{}<div class=\"panel\">\n{}</div>\n", title.empty() ? "" : "<h2>" + title + "</h2>\n", html);
}

std::string in_table(const std::string& rows) { return "<div class=\"scroll\"><table>\n" + rows + "</table></div>\n"; }

struct Share {
  std::string name;
  double value;
  std::string shown;
};

// One bar, `whole` wide; what the shares leave is empty.
std::string bar(const std::string& name, const std::string& total, const std::vector<Share>& shares, double whole) {
  std::string html =
      fmt::format("<div class=\"row\"><div><span>{}</span><b>{}</b></div><div class=\"bar\">", name, total);
  for (const Share& s : shares)
    html += fmt::format("<i class=\"p-{0}\" style=\"flex:0 0 {1:.2f}%\" title=\"{0}: {2}\"></i>", escape(s.name),
                        100 * s.value / whole, s.shown);
  return html + "</div></div>\n";
}

std::string legend(const std::vector<std::string>& names) {
  std::string html = "<div class=\"legend\">";
  for (std::string name : names) {
    const std::string colour = "p-" + name;
    std::replace(name.begin(), name.end(), '_', ' ');
    html += swatch(escape(colour), name == "comm" ? "communication" : name);
  }
  return html + "</div>\n";
}

// A total of the run, or until it is there the mean of what was logged.
double mean_seconds(const RunData& run, const std::string& part) {
  auto total = run.totals.find("train_" + part + "_seconds");
  if (total != run.totals.end()) return total->second;
  const Series& points = run.of(part + "_seconds");
  if (points.empty()) return NAN;
  return std::accumulate(points.begin(), points.end(), 0.0, [](double sum, const Point& p) { return sum + p.y; }) /
         double(points.size());
}

std::string seconds_cell(const RunData& run, const std::string& part) {
  const double mean = mean_seconds(run, part);
  if (std::isnan(mean)) return "<td class=\"n\">–</td>";
  auto p95 = run.totals.find("train_" + part + "_seconds_p95");
  return fmt::format("<td class=\"n\">{}<small>{}</small></td>", figure(mean),
                     p95 == run.totals.end() ? "" : "95 % within " + figure(p95->second));
}

// The last value that the run has of it.
double last_value(const RunData& run, const std::string& metric) {
  auto total = run.totals.find(metric);
  if (total != run.totals.end()) return total->second;
  const Series& points = run.of(metric);
  return points.empty() ? NAN : points.back().y;
}

std::string value_cell(const Setting* s) {
  if (!s) return "<td class=\"soft\">not known here</td>";
  return fmt::format("<td><code>{}</code><small>{}</small></td>", s->value.empty() ? "–" : escape(s->value),
                     s->origin == "default" ? "" : escape(s->origin));
}

}  // namespace

std::string bytes_text(int64_t bytes) {
  const auto n = double(bytes);
  return n >= 1e9   ? fmt::format("{:.2f} GB", n / 1e9)
         : n >= 1e6 ? fmt::format("{:.1f} MB", n / 1e6)
                    : fmt::format("{:.1f} KB", n / 1e3);
}

std::string time_table(const Runs& runs) {
  std::vector<std::string> parts;
  for (const char* part : kParts)
    if (std::any_of(runs.begin(), runs.end(), [&](auto& run) { return !std::isnan(mean_seconds(run, part)); }))
      parts.push_back(part);
  std::string html = legend(parts), rows = head(runs, "seconds of a step, mean", "n");
  for (size_t i = 0; i < runs.size(); ++i) {
    std::vector<Share> shares;
    double whole = 0;
    for (const std::string& part : parts)
      if (const double mean = mean_seconds(runs[i], part); !std::isnan(mean))
        whole += mean, shares.push_back({part, mean, ""});
    if (!(whole > 0)) continue;
    for (Share& s : shares) s.shown = fmt::format("{} s, {:.1f} %", figure(s.value), 100 * s.value / whole);
    html += bar(swatch(colour_of(i), runs[i].name), figure(whole) + " s", shares, whole);
  }
  parts.insert(parts.begin(), "step");
  for (const std::string& part : parts) {
    rows += "<tr><td>" + std::string(part == "comm" ? "communication" : part) + "</td>";
    for (const RunData& run : runs) rows += seconds_cell(run, part);
    rows += "</tr>\n";
  }
  return in_panel("", html + in_table(rows));
}

std::string memory_bars(const Runs& runs) {
  std::vector<std::string> names;
  std::vector<double> sums;
  for (const RunData& run : runs) {
    sums.push_back(0);
    for (const auto& [category, bytes] : run.memory) {
      sums.back() += double(bytes);
      if (std::find(names.begin(), names.end(), category) == names.end()) names.push_back(category);
    }
  }
  const double most = *std::max_element(sums.begin(), sums.end());
  if (most == 0) return "";
  std::string html = legend(names), rows = head(runs, "planned before anything was allocated", "n");
  for (size_t i = 0; i < runs.size(); ++i) {
    std::vector<Share> shares;
    for (const auto& [category, bytes] : runs[i].memory) shares.push_back({category, double(bytes), bytes_text(bytes)});
    if (!shares.empty()) html += bar(swatch(colour_of(i), runs[i].name), bytes_text(int64_t(sums[i])), shares, most);
  }
  for (std::string name : names) {
    std::string row;
    for (const RunData& run : runs) {
      auto found = std::find_if(run.memory.begin(), run.memory.end(), [&](auto& m) { return m.first == name; });
      row += fmt::format("<td class=\"n\">{}</td>", found == run.memory.end() ? "–" : bytes_text(found->second));
    }
    std::replace(name.begin(), name.end(), '_', ' ');
    rows += "<tr><td>" + escape(name) + "</td>" + row + "</tr>\n";
  }
  return in_panel("Memory of a rank", html + in_table(rows));
}

std::string metrics_table(const Runs& runs) {
  std::map<std::string, bool> names;
  for (const RunData& run : runs) {
    for (const auto& [metric, points] : run.series)
      if (metric.starts_with("eval_")) names[metric];
    for (const auto& [metric, value] : run.totals)
      if (!metric.ends_with("_p95") && metric.find("_seconds") == metric.npos) names[metric];
  }
  if (names.empty()) return "";
  std::string rows = head(runs, "metric", "n");
  for (const auto& [metric, unused] : names) {
    rows += "<tr><td><code>" + escape(metric) + "</code></td>";
    for (const RunData& run : runs) {
      const double value = last_value(run, metric);
      rows += fmt::format("<td class=\"n\">{}</td>", std::isnan(value) ? "–" : figure(value));
    }
    rows += "</tr>\n";
  }
  return in_panel("Final metrics", in_table(rows));
}

std::string settings_table(const Runs& runs) {
  std::vector<std::string> keys;
  std::map<std::string, std::vector<const Setting*>> found;
  for (size_t i = 0; i < runs.size(); ++i)
    for (const Setting& s : runs[i].settings) {
      auto [it, is_new] = found.try_emplace(s.key, runs.size());
      if (is_new) keys.push_back(s.key);
      it->second[i] = &s;
    }
  if (keys.empty()) return "";
  std::string differing, all, section;
  for (const std::string& key : keys) {
    const auto& settings = found[key];
    auto value = [&](const Setting* s) { return s ? s->value : ""; };
    const bool differs = key != "run.output" && std::any_of(settings.begin(), settings.end(), [&](const Setting* s) {
                           return value(s) != value(settings[0]);
                         });
    std::string row = fmt::format("<tr{}><td><code>{}</code></td>", differs ? " class=\"differs\"" : "", escape(key));
    for (const Setting* s : settings) row += value_cell(s);
    row += "</tr>\n";
    if (const std::string its = key.substr(0, key.find('.')); its != section)
      all += fmt::format("<tr class=\"section\"><th colspan=\"{}\">{}</th></tr>\n", runs.size() + 1,
                         escape(section = its));
    all += row;
    if (differs) differing += row;
  }
  std::string html;
  if (runs.size() > 1)
    html = differing.empty() ? "<p>The configurations are the same, but for run.output.</p>\n"
                             : "<p>What differs:</p>\n" + in_table(head(runs, "key", "") + differing);
  html += fmt::format("<details{}><summary>All {} settings</summary>\n{}</details>\n", runs.size() == 1 ? " open" : "",
                      keys.size(), in_table(head(runs, "key", "") + all));
  return in_panel("Configuration", html);
}

}  // namespace viaduct::app
