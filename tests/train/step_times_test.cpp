// Means and percentiles of a step's parts, and the sentence that says what bounds a run.
#include "train/step_times.hpp"

#include <gmock/gmock.h>

#include "train/bound.hpp"

namespace viaduct {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

StepReport step_of(double data, double forward, double backward, double comm, double optimizer) {
  return {.seconds = data + forward + backward + comm + optimizer,
          .data_seconds = data,
          .forward_seconds = forward,
          .backward_seconds = backward,
          .comm_seconds = comm,
          .optimizer_seconds = optimizer};
}

TEST(StepTimes, MeansAndPercentilesLeaveOutTheFirstSteps) {
  StepTimes times;
  for (int i = 0; i < StepTimes::kWarmup; ++i) times.stepped(step_of(100, 100, 100, 100, 100));
  EXPECT_TRUE(times.empty());
  EXPECT_TRUE(times.metrics().empty());
  for (int i = 1; i <= 100; ++i) times.stepped(step_of(i, 2, 3, 0, 1));
  auto metrics = times.metrics();
  EXPECT_DOUBLE_EQ(metrics.at("train_data_seconds"), 50.5);
  EXPECT_DOUBLE_EQ(metrics.at("train_data_seconds_p95"), 95);
  EXPECT_DOUBLE_EQ(metrics.at("train_step_seconds"), 56.5);
  EXPECT_DOUBLE_EQ(metrics.at("train_step_seconds_p95"), 101);
  EXPECT_DOUBLE_EQ(metrics.at("train_forward_seconds_p95"), 2);
  EXPECT_FALSE(metrics.contains("train_device_seconds"));
  EXPECT_THAT(times.line(), StartsWith("seconds of a step, mean (95th percentile): step 56.5 (101); data 50.5 (95), "));
}

TEST(StepTimes, APercentileIsOfTheLastSteps) {
  StepTimes times;
  const auto some = int(StepTimes::kRemembered);
  for (int i = 0; i < StepTimes::kWarmup + some; ++i) times.stepped(step_of(0, 1, 0, 0, 0));
  for (int i = 0; i < some; ++i) times.stepped(step_of(0, 3, 0, 0, 0));
  EXPECT_DOUBLE_EQ(times.metrics().at("train_forward_seconds"), 2);
  EXPECT_DOUBLE_EQ(times.metrics().at("train_forward_seconds_p95"), 3);
}

TEST(StepTimes, ADeviceHasTwoParts) {
  StepTimes times;
  for (int i = 0; i <= StepTimes::kWarmup; ++i) times.stepped({.seconds = 3, .data_seconds = 1, .device_seconds = 2});
  auto metrics = times.metrics();
  EXPECT_EQ(metrics.size(), 6u);
  EXPECT_DOUBLE_EQ(metrics.at("train_device_seconds"), 2);
}

std::string bound(const std::vector<RankTimes>& ranks, const Config& config = {}, int workers = 1) {
  return what_bounds(ranks, config, workers, false);
}

TEST(Bound, Arithmetic) {
  const RankTimes busy{.step = 1, .data = 0.02, .compute = 0.9, .comm = 0.03, .optimizer = 0.05};
  EXPECT_THAT(bound({busy}), AllOf(StartsWith("bound by the arithmetic of forward and backward (90 % of a step)"),
                                   HasSubstr("train.precision = bf16")));
  Config config;
  config.train.recompute = true, config.train.precision = "bf16";
  EXPECT_THAT(bound({busy}, config), AllOf(HasSubstr("train.recompute = false"), testing::Not(HasSubstr("bf16"))));
}

TEST(Bound, GpusDoNotTellTheirExchangeApart) {
  const RankTimes busy{.step = 1, .data = 0.02, .compute = 0.98, .comm = 0, .optimizer = 0};
  EXPECT_THAT(what_bounds({busy}, {}, 1, true),
              StartsWith("bound by the GPU's work (98 % of a step), as it should be"));
  EXPECT_THAT(what_bounds({busy, busy}, {}, 1, true),
              AllOf(HasSubstr("the exchange of gradients between them"), testing::Not(HasSubstr("as it should"))));
}

// Three workers that never rest deliver a step's images in a second; 0.6 seconds of it are left to hide that.
TEST(Bound, DataSaysHowManyWorkers) {
  const RankTimes waits{.step = 1, .data = 0.4, .compute = 0.55, .comm = 0, .optimizer = 0.05};
  EXPECT_THAT(bound({waits}, {}, 3), AllOf(StartsWith("bound by waiting for images: 40 % of a step, without which it "
                                                      "would be 1.7 times as fast"),
                                           HasSubstr("data.workers = 5 (now 3)")));
  EXPECT_THAT(bound({waits}, {}, 0), HasSubstr("data.workers = 1 (now 0)"));
}

TEST(Bound, ARankThatWaitsForDataHoldsUpTheOthers) {
  const RankTimes waits{.step = 1, .data = 0.5, .compute = 0.4, .comm = 0.05, .optimizer = 0.05};
  const RankTimes other{.step = 1, .data = 0, .compute = 0.4, .comm = 0.55, .optimizer = 0.05};
  EXPECT_THAT(bound({other, waits}), AllOf(HasSubstr("waiting for images (rank 1, for which the others wait): 50 %")));
}

TEST(Bound, ASlowRankIsNamed) {
  const RankTimes slow{.step = 1, .data = 0, .compute = 0.9, .comm = 0.05, .optimizer = 0.05};
  const RankTimes fast{.step = 1, .data = 0, .compute = 0.5, .comm = 0.45, .optimizer = 0.05};
  EXPECT_THAT(bound({fast, fast, slow}), HasSubstr("waiting for rank 2, the slowest: 40 % of a step"));
}

TEST(Bound, CommunicationDependsOnTheStrategy) {
  const RankTimes waits{.step = 1, .data = 0, .compute = 0.6, .comm = 0.35, .optimizer = 0.05};
  Config config;
  EXPECT_THAT(bound({waits, waits}, config),
              AllOf(HasSubstr("communication that backward does not hide: 35 %"), HasSubstr("parallel.wire = bf16"),
                    HasSubstr("train.accumulate = 2")));
  config.parallel.strategy = "fast_ddp", config.parallel.wire = "bf16";
  EXPECT_THAT(bound({waits, waits}, config),
              AllOf(HasSubstr("parallel.strategy = ddp"), testing::Not(HasSubstr("parallel.wire"))));
}

TEST(Bound, TheOptimizerIsShared) {
  const RankTimes slow{.step = 1, .data = 0, .compute = 0.7, .comm = 0.05, .optimizer = 0.25};
  EXPECT_THAT(bound({slow, slow}), HasSubstr("zero1, which does 1/2 of it"));
  EXPECT_THAT(bound({slow}), AllOf(HasSubstr("train.batch_size"), testing::Not(HasSubstr("zero1"))));
}

TEST(Bound, TimesTravelAsText) {
  const RankTimes times{.step = 0.1, .data = 1e-9, .compute = 1.0 / 3, .comm = 0, .optimizer = 12};
  const RankTimes read = RankTimes::parse(times.text());
  EXPECT_EQ(read.text(), times.text());
  EXPECT_EQ(read.compute, times.compute);
}

}  // namespace
}  // namespace viaduct
