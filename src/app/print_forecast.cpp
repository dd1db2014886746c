// What a forecast is made from, read from run folders and bench.json, and its table.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "app/forecast.hpp"
#include "app/report_data.hpp"
#include "core/base/check.hpp"
#include "core/base/log.hpp"

namespace viaduct::app {
namespace {

std::vector<std::string> listed(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    const size_t begin = part.find_first_not_of(' '), end = part.find_last_not_of(' ');
    parts.push_back(begin == part.npos ? "" : part.substr(begin, end - begin + 1));
  }
  return parts;
}

double number(const std::string& text) { return std::strtod(text.c_str(), nullptr); }

struct MeasuredRun {
  std::string folder, strategy;
  int ranks = 0;
  double batch = 0, seconds = 0;
};

double seconds_of(const RunData& run, const char* part) {
  auto found = run.totals.find(std::string("train_") + part + "_seconds");
  return found == run.totals.end() ? 0 : found->second;
}

MeasuredRun measured_run(const RunData& run) {
  MeasuredRun m{.folder = run.folder,
                .strategy = run.setting("parallel.strategy"),
                .ranks = int(number(run.fact("ranks"))),
                .batch = number(run.setting("train.batch_size")) * number(run.setting("train.accumulate")),
                .seconds = seconds_of(run, "step")};
  if (m.ranks < 1 || !(m.seconds > 0))
    fail_input(
        fmt::format("{}: expected a complete run of more than three steps, with summary.json and "
                    "train_step_seconds in the last line of metrics.jsonl; {}",
                    run.folder, run.faults.empty() ? "let it end" : run.faults[0]));
  return m;
}

MeasuredStep measured_step(const RunData& run, const Config& config, double parameters) {
  MeasuredStep step{.data = seconds_of(run, "data"),
                    .forward = seconds_of(run, "forward"),
                    .backward = seconds_of(run, "backward"),
                    .optimizer = seconds_of(run, "optimizer"),
                    .threads = std::max(1.0, number(run.fact("threads"))),
                    .bucket_bytes = config.parallel.bucket_mb * 1e6,
                    .accumulate = std::max(1, int(number(run.setting("train.accumulate"))))};
  if (const double device = seconds_of(run, "device"); device > 0)  // of a step that is one graph, the usual parts
    step.gpu = true, step.forward = device / 3, step.backward = 2 * device / 3;
  const bool invariant = config.parallel.reduction == "invariant";
  step.gradient_bytes = parameters * (invariant ? 8 : config.parallel.wire == "bf16" ? 2 : 4);
  step.value_bytes = parameters * (config.train.precision == "bf16" ? 2 : 4);
  return step;
}

HostLink measured_link(const std::string& path) {
  std::ifstream file(path);
  std::vector<Timed> timed;
  int ranks = 0;
  for (std::string line; std::getline(file, line);) {
    const auto row = nlohmann::json::parse(line, nullptr, false);
    auto value = [&](const char* key) {
      return row.is_object() && row.contains(key) && row[key].is_number() ? row[key].get<double>() : 0;
    };
    if (!(value("bytes") > 0 && value("seconds") > 0 && value("ranks") >= 2)) continue;
    timed.push_back({value("bytes"), value("seconds")}), ranks = int(value("ranks"));
  }
  if (timed.size() < 2)
    fail_input(fmt::format(
        "{}: expected at least two sizes of an all-reduce between ranks, found {}; write it by mpirun -np 2 "
        "viaduct bench comm --bench.json {}",
        path, timed.size(), path));
  return fit_link(timed, ranks);
}

Cluster cluster_of(const Config& config, const std::vector<int64_t>& ranks) {
  const PlanSection& plan = config.plan;
  const int64_t most = *std::max_element(ranks.begin(), ranks.end());
  const bool several_hosts = plan.ranks_per_host > 0 && most > plan.ranks_per_host;
  if (several_hosts && !(plan.network_gb_per_second > 0))
    fail_config(
        fmt::format("plan.ranks_per_host = {} puts {} ranks on several hosts; give plan.network_gb_per_second and "
                    "plan.network_microseconds",
                    plan.ranks_per_host, most));
  Cluster cluster{.link = {},
                  .ranks_per_host = int(plan.ranks_per_host),
                  .cores = plan.cores > 0 ? double(plan.cores) : std::max(1u, std::thread::hardware_concurrency()),
                  .network_latency = 1e-6 * plan.network_microseconds,
                  .network_per_byte = several_hosts ? 1e-9 / plan.network_gb_per_second : 0};
  if (most > 1 && plan.ranks_per_host != 1) {
    if (plan.links.empty())
      fail_config(
          "a forecast of several ranks on a host needs plan.links: mpirun -np 2 viaduct bench comm --bench.json "
          "FILE writes it");
    cluster.link = measured_link(plan.links);
  }
  return cluster;
}

}  // namespace

std::vector<int64_t> planned_ranks(const Config& config) {
  std::vector<int64_t> ranks;
  bool good = !config.plan.ranks.empty();
  for (const std::string& text : listed(config.plan.ranks)) {
    int64_t n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    good &= error == std::errc() && end == text.data() + text.size() && n >= 1 && n < int64_t(rule::kSome);
    ranks.push_back(n);
  }
  if (!good)
    fail_config(fmt::format("plan.ranks = '{}' ({}): expected whole numbers from 1 to below 10000, such as 1,2,8",
                            config.plan.ranks, config.origin("plan.ranks")));
  return ranks;
}

void print_forecast(const Config& config, const std::vector<int64_t>& ranks, double trained_parameters) {
  std::vector<MeasuredRun> runs;
  std::vector<RunData> folders;
  for (const std::string& folder : listed(config.plan.measured))
    folders.push_back(read_run(folder)), runs.push_back(measured_run(folders.back()));
  if (runs[0].ranks != 1)
    fail_config(
        fmt::format("plan.measured: {} has {} ranks; the first run must have one, whose step has no communication "
                    "in it",
                    runs[0].folder, runs[0].ranks));
  const MeasuredStep step = measured_step(folders[0], config, trained_parameters);
  const Cluster cluster = cluster_of(config, ranks);
  if (step.gpu)
    log::warn(
        "plan.links was measured between ranks in host memory; GPUs exchange gradients over NCCL, which is faster "
        "and hides behind backward: what the forecast says of communication is no more than a bound");
  fmt::print(
      "\nforecast of a step ({} samples a rank; a host has {:.0f} cores; all-reduce of {} ranks: {:.1f} us + "
      "{:.2f} GB/s)\n",
      runs[0].batch, cluster.cores, cluster.link.ranks, 1e6 * cluster.link.latency,
      cluster.link.per_byte > 0 ? 1e-9 / cluster.link.per_byte : INFINITY);
  fmt::print("  {:<9} {:>6} {:>10} {:>22} {:>11} {:>12} {:>11} {:>7}\n", "strategy", "ranks", "seconds",
             "exposed communication", "efficiency", "samples/s", "measured s", "error");
  for (const char* strategy : {"ddp", "fast_ddp", "zero1", "zero2"})
    for (int64_t n : ranks) {
      const Forecast one = forecast(step, cluster, strategy, 1), f = forecast(step, cluster, strategy, int(n));
      std::string beside;
      for (const MeasuredRun& run : runs)
        if (run.ranks == n && run.batch == runs[0].batch && (run.strategy == strategy || n == 1))
          beside = fmt::format(" {:>11.4g} {:>+6.1f}%", run.seconds, 100 * (f.seconds / run.seconds - 1));
      fmt::print("  {:<9} {:>6} {:>10.4g} {:>22.4g} {:>10.1f}% {:>12.4g}{}\n", strategy, n, f.seconds, f.exposed,
                 100 * one.seconds / f.seconds, runs[0].batch * double(n) / f.seconds, beside);
    }
}

}  // namespace viaduct::app
