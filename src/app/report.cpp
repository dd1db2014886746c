#include <cmath>
#include <filesystem>

#include "app/commands.hpp"
#include "app/html.hpp"
#include "app/ordered_output.hpp"
#include "app/report_page.hpp"
#include "core/base/check.hpp"
#include "core/base/files.hpp"
#include "core/base/log.hpp"

namespace viaduct::app {
namespace {

std::string show(double value, int digits) { return std::isnan(value) ? "-" : fmt::format("{:.{}f}", value, digits); }

std::string table(const std::vector<RunData>& runs) {
  size_t width = 3;
  for (const RunData& run : runs) width = std::max(width, run.folder.size());
  std::string text = fmt::format("{:<{}}  {:<10} {:>8} {:>7} {:>9} {:>9} {:>13} {:>9}\n", "run", width, "outcome",
                                 "step", "epoch", "loss", "eval_loss", "best accuracy", "images/s");
  for (const RunData& run : runs) {
    auto last = [&](const char* field) { return run.of(field).empty() ? NAN : run.of(field).back().y; };
    double best = NAN;
    for (const Point& p : run.of("eval_accuracy")) best = std::fmax(best, p.y);
    text += fmt::format("{:<{}}  {:<10} {:>8} {:>7} {:>9} {:>9} {:>13} {:>9}\n", printable(run.folder), width,
                        printable(run.outcome), run.step, show(run.epoch, 2), show(last("loss"), 4),
                        show(last("eval_loss"), 4), show(best, 4), show(last("samples_per_second"), 1));
  }
  return text;
}

std::string page_of(const Invocation& call) {
  const std::string& output = call.config.report.output;
  if (output != "auto") return output;
  return call.subjects.size() == 1 ? (Path(call.subjects[0]) / "report.html").string() : "report.html";
}

Exit run(const Invocation& call) {
  if (call.subjects.empty()) fail_config("viaduct report needs run folders: viaduct report RUN ...");
  std::vector<RunData> runs;
  for (const std::string& folder : call.subjects) {
    runs.push_back(read_run(folder));
    for (const std::string& fault : runs.back().faults) log::warn("{}: {}", folder, fault);
  }
  const std::string page = page_of(call);
  if (!page.empty()) make_place_for(page), write_file_durable(page, report_page(runs));
  fmt::print("{}", table(runs));
  if (!page.empty()) log::info("page: {}", page);
  return Exit::ok;
}

}  // namespace

const Command report_command = {
    "report",
    "RUN ...",
    "finished and running runs side by side: a table, and an HTML page with their curves",
    "Reads what every run folder holds: curves, the split of the time, memory, metrics, the "
    "configuration and what differs in it.\n"
    "The page is one file that needs nothing else and no network.",
    {"report"},
    1000,
    true,
    run};

}  // namespace viaduct::app
