// The formulas of docs/scaling.md, and the command that applies them to measured runs.
#include "app/forecast.hpp"

#include <gmock/gmock.h>

#include "tests/app/program.hpp"

namespace viaduct::test {
namespace {

using app::Cluster;
using app::MeasuredStep;
using testing::HasSubstr;

TEST(Forecast, ALineIsFound) {
  std::vector<app::Timed> timed;
  for (double bytes = 4096; bytes < 1e8; bytes *= 4) timed.push_back({bytes, 2e-5 + bytes / 5e9});
  const app::HostLink link = app::fit_link(timed, 2);
  EXPECT_NEAR(link.latency, 2e-5, 1e-11);
  EXPECT_NEAR(link.per_byte, 1 / 5e9, 1e-16);
  EXPECT_EQ(app::fit_link({{1e6, 1}, {2e6, 3}}, 2).latency, 0);  // never below 0
}

// Four buckets, each a second on the link, beside two seconds of backward.
const MeasuredStep kStep{.data = 0,
                         .forward = 1,
                         .backward = 2,
                         .optimizer = 0.4,
                         .threads = 1,
                         .gradient_bytes = 400,
                         .value_bytes = 400,
                         .bucket_bytes = 100,
                         .gpu = true};
const Cluster kHost{.link = {.latency = 0, .per_byte = 0.01, .ranks = 2}};

TEST(Forecast, StrategiesHideWhatTheyCan) {
  EXPECT_DOUBLE_EQ(forecast(kStep, kHost, "ddp", 1).seconds, 3.4);
  EXPECT_DOUBLE_EQ(forecast(kStep, kHost, "ddp", 2).exposed, 4 - 1.5);
  EXPECT_DOUBLE_EQ(forecast(kStep, kHost, "fast_ddp", 2).exposed, 4);
  // Half an all-reduce each way: 2 s behind 1.5 of backward, 2 s behind 0.75 of forward.
  EXPECT_DOUBLE_EQ(forecast(kStep, kHost, "zero1", 2).exposed, 0.5 + 1.25);
  EXPECT_DOUBLE_EQ(forecast(kStep, kHost, "zero1", 2).seconds, 3 + 0.2 + 1.75);
  MeasuredStep fast = kStep;
  fast.gradient_bytes = 40, fast.bucket_bytes = 10;  // the last bucket cannot hide
  EXPECT_DOUBLE_EQ(forecast(fast, kHost, "ddp", 2).exposed, 0.1);
  MeasuredStep passes = kStep;
  passes.accumulate = 2, passes.forward = 2, passes.backward = 4;
  EXPECT_DOUBLE_EQ(forecast(passes, kHost, "zero2", 2).exposed, 0.5 + 1.25 + 0.5);
  EXPECT_DOUBLE_EQ(forecast(passes, kHost, "ddp", 2).exposed, 2.5);
}

TEST(Forecast, RanksOfAHostShareItsCores) {
  MeasuredStep cpu = kStep;
  cpu.gpu = false;
  Cluster host = kHost;
  host.cores = 4;
  EXPECT_DOUBLE_EQ(forecast(cpu, host, "ddp", 2).exposed, 2.5);  // a core is free for each
  host.cores = 2;
  EXPECT_DOUBLE_EQ(forecast(cpu, host, "ddp", 2).exposed, 4);  // none is: nothing hides
  host.cores = 1;
  EXPECT_DOUBLE_EQ(forecast(cpu, host, "ddp", 2).seconds, 2 * 3.4 + 4);
}

TEST(Forecast, ARingBetweenHosts) {
  Cluster cluster = kHost;
  cluster.ranks_per_host = 2, cluster.network_latency = 0.5, cluster.network_per_byte = 0.1;
  EXPECT_DOUBLE_EQ(all_reduce_seconds(cluster, 2, 100), 1);
  EXPECT_DOUBLE_EQ(all_reduce_seconds(cluster, 8, 100), 1 + 2 * 3 * 0.5 + 2 * 0.75 * 10);
  cluster.ranks_per_host = 1;
  EXPECT_DOUBLE_EQ(all_reduce_seconds(cluster, 1, 100), 0);
}

class ForecastTest : public ProgramTest {};

TEST_F(ForecastTest, IsPrintedBesideWhatWasMeasured) {
  const std::string one = (own_ / "one").string(), links = (own_ / "links.json").string();
  ASSERT_EQ(viaduct("train " + tiny() + " --run.output " + one).code, 0);
  ASSERT_EQ(ranks(2, "bench comm --bench.steps 3 --bench.json " + links).code, 0);
  Result result =
      viaduct("plan " + run() + " --plan.ranks 1,2,4096 --plan.measured " + one + "," + run() + " --plan.links " +
              links + " --plan.ranks_per_host 8 --plan.network_gb_per_second 12 --plan.network_microseconds 20");
  ASSERT_EQ(result.code, 0) << result.err;
  for (const char* strategy : {"\n  ddp ", "\n  fast_ddp ", "\n  zero1 ", "\n  zero2 "}) {
    size_t at = result.out.find(strategy), rows = 0;
    for (; at != std::string::npos; at = result.out.find(strategy, at + 1)) ++rows;
    EXPECT_EQ(rows, 3u) << strategy << result.out;
  }
  int measured = 0;
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) measured += line.ends_with("%") && line.starts_with("  ");
  EXPECT_EQ(measured, 4 + 1) << result.out;  // one rank of any strategy, two of ddp
}

TEST_F(ForecastTest, WhatIsMissingIsSaid) {
  auto said = [&](const std::string& arguments, int code) {
    Result result = viaduct("plan " + run() + " " + arguments);
    EXPECT_EQ(result.code, code) << arguments << result.err;
    return result.err;
  };
  EXPECT_THAT(said("--plan.ranks 0,2", 2), HasSubstr("plan.ranks = '0,2' (command line): expected whole numbers"));
  EXPECT_THAT(said("--plan.ranks ''", 2), HasSubstr("expected whole numbers"));
  EXPECT_THAT(said("--plan.measured " + run(), 2), HasSubstr("the first run must have one"));
  const std::string one = (own_ / "one").string();
  ASSERT_EQ(viaduct("train " + tiny() + " --run.output " + one).code, 0);
  EXPECT_THAT(said("--plan.ranks 2 --plan.measured " + one, 2), HasSubstr("needs plan.links"));
  write_bytes(own_ / "links.json", "{}\n");
  EXPECT_THAT(said("--plan.ranks 2 --plan.measured " + one + " --plan.links " + (own_ / "links.json").string(), 3),
              HasSubstr("expected at least two sizes"));
  EXPECT_THAT(said("--plan.ranks 64 --plan.ranks_per_host 8 --plan.measured " + one, 2),
              HasSubstr("give plan.network_gb_per_second"));
  EXPECT_EQ(viaduct("plan --plan.network_gb_per_second -1").code, 2);
}

}  // namespace
}  // namespace viaduct::test
