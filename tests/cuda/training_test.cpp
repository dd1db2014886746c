// Whole runs of tiny models on the cuda device: what the CPU learns, with the same bits whenever the same run is made again.
#include "comm/self_comm.hpp"
#include "core/device/gpus.hpp"
#include "tests/train/tiny_bridgetower.hpp"
#include "train/engine.hpp"
#include "train/step_numbers.hpp"

namespace viaduct::test {
namespace {

const Settings kCuda = {{"device.kind", "cuda"}, {"train.steps", "20"}};
const Settings kCpu = {{"device.kind", "cpu"}, {"train.steps", "20"}};

Settings tiny_vit() {
  return {{"data.train", (scenes() / "train").string()},
          {"data.eval", (scenes() / "eval").string()},
          {"model.hidden_size", "64"},
          {"model.num_hidden_layers", "2"},
          {"model.num_attention_heads", "2"},
          {"model.intermediate_size", "96"},
          {"model.image_size", "24"},
          {"model.patch_size", "8"},
          {"model.hidden_dropout_prob", "0.1"},
          {"model.attention_probs_dropout_prob", "0.1"},
          {"train.lr", "1e-3"},
          {"train.warmup", "3"}};
}

class CudaVit : public Runs {
 protected:
  CudaVit() : Runs(tiny_vit()) {}
};
class CudaBridgeTower : public Runs {
 protected:
  CudaBridgeTower() : Runs(tiny_bridgetower() + Settings{{"train.lr", "1e-3"}}) {}
};

TEST_F(CudaVit, LearnsWhatTheCpuLearns) {
  Path cpu = train("cpu", 1, kCpu), cuda = train("cuda", 1, kCuda);
  ASSERT_EQ(20u, steps(cpu).size());
  expect_same_losses(steps(cpu), steps(cuda), 1e-5);
  for (const auto& step : steps(cuda)) {  // the host runs ahead of the device and cannot tell its phases apart
    EXPECT_GT(double(step["device_seconds"]), 0);
    EXPECT_FALSE(step.contains("forward_seconds"));
  }
  for (const char* metric : {"eval_loss", "eval_accuracy"})
    EXPECT_NEAR(evaluations(cpu).back()[metric], evaluations(cuda).back()[metric], 1e-4) << metric;
}

TEST_F(CudaVit, AReplayedStepHasTheBitsOfAnEagerOne) {
  for (const char* precision : {"fp32", "bf16"}) {
    const Settings settings = kCuda + Settings{{"train.precision", precision}, {"train.accumulate", "2"}};
    const std::string p = precision;
    Path replayed = train("replayed-" + p, 1, settings), again = train("again-" + p, 1, settings);
    Path eager = train("eager-" + p, 1, settings + Settings{{"device.graph", "false"}});
    EXPECT_TRUE(weights(replayed) == weights(again)) << "two runs, " << p;
    EXPECT_TRUE(weights(replayed) == weights(eager)) << "graph on and off, " << p;
  }
}

TEST_F(CudaVit, WhatIsDoneInHostMemoryOnlyIsRefused) {
  for (const Settings& settings :
       {Settings{{"parallel.reduction", "invariant"}}, Settings{{"parallel.strategy", "zero2"}}}) {
    const std::string message = message_of([&] { train("refused", 1, kCuda + settings); }, Exit::config);
    EXPECT_NE(message.find("in host memory in this version"), std::string::npos) << message;
    train("cpu-" + settings.begin()->first, 1, settings + Settings{{"device.kind", "auto"}, {"train.steps", "2"}});
  }
}

// The last batch of an epoch is short: another shape, another graph.
TEST_F(CudaVit, ShortBatchesAndRecomputedActivationsAreExact) {
  const Settings settings = {{"train.batch_size", "20"}, {"train.accumulate", "2"}};
  Path cpu = train("cpu", 1, kCpu + settings), cuda = train("cuda", 1, kCuda + settings);
  expect_same_losses(steps(cpu), steps(cuda), 1e-5);
  Path recomputed = train("recomputed", 1, kCuda + settings + Settings{{"train.recompute", "true"}});
  EXPECT_TRUE(weights(cuda) == weights(recomputed));
}

// A replayed first pass followed by one whose shape is new: what the first has added up must not be lost.
TEST_F(CudaVit, AStepMayBeReplayedInPart) {
  const Settings settings = {{"train.batch_size", "18"}, {"train.accumulate", "2"}};  // 96 pictures: 36, 36, 18 + 6
  Path cpu = train("cpu", 1, kCpu + settings), cuda = train("cuda", 1, kCuda + settings);
  expect_same_losses(steps(cpu), steps(cuda), 1e-5);
}

TEST_F(CudaVit, StrategiesOfOneRankHaveTheSameBits) {
  const Settings settings = kCuda + Settings{{"train.steps", "6"}};
  Path ddp = train("ddp", 1, settings);
  for (const char* strategy : {"fast_ddp", "zero1"}) {
    Path other = train(strategy, 1, settings + Settings{{"parallel.strategy", strategy}});
    EXPECT_TRUE(weights(ddp) == weights(other)) << strategy;
  }
}

TEST_F(CudaVit, AResumedRunIsTheUninterruptedRun) {
  const Settings settings = kCuda + Settings{{"run.checkpoint_every", "6"}, {"train.precision", "bf16"}};
  Path whole = train("whole", 1, settings);
  EXPECT_THROW(train("cut", 1, settings + Settings{{"fault.kind", "throw"}, {"fault.step", "9"}}), Error);
  Path resumed = train("cut", 1, settings + Settings{{"run.resume", "auto"}});
  EXPECT_TRUE(weights(whole) == weights(resumed));
}

TEST_F(CudaVit, ARunMayGoOnOnAnotherDevice) {
  const Settings settings = {{"run.checkpoint_every", "6"}};
  Path whole = train("whole", 1, kCuda + settings);
  EXPECT_THROW(train("cut", 1, kCuda + settings + Settings{{"fault.kind", "throw"}, {"fault.step", "9"}}), Error);
  expect_same_losses(steps(whole), steps(train("cut", 1, kCpu + settings + Settings{{"run.resume", "auto"}})), 1e-5);
}

// Distance of two loss curves, as the mean over the second half.
double distance(const std::vector<nlohmann::json>& a, const std::vector<nlohmann::json>& b) {
  double sum = 0;
  for (size_t i = a.size() / 2; i < a.size(); ++i) sum += std::abs(double(a[i]["loss"]) - double(b[i]["loss"]));
  return sum / double(a.size() - a.size() / 2);
}

TEST_F(CudaVit, Bf16StaysWithinTheSpreadOfSeeds) {
  auto fp32 = steps(train("fp32", 1, kCuda)), other = steps(train("other", 1, kCuda + Settings{{"train.seed", "43"}}));
  auto bf16 = steps(train("bf16", 1, kCuda + Settings{{"train.precision", "bf16"}}));
  EXPECT_LT(distance(fp32, bf16), distance(fp32, other));
}

TEST_F(CudaVit, ALossThatIsNotFiniteStopsTheRunAndSpoilsNothing) {
  const Settings settings =
      kCuda + Settings{{"run.checkpoint_every", "5"}, {"train.lr", "1e30"}, {"train.warmup", "6"}};
  EXPECT_NE(message_of([&] { train("diverged", 1, settings); }, Exit::diverged).find("training diverged at step"),
            std::string::npos);
}

TEST_F(CudaVit, UsesThePlannedMemoryAndNoMore) {
  for (const char* precision : {"fp32", "bf16"}) {
    const Config config = config_for("planned", kCuda + Settings{{"train.precision", precision}});
    SelfComm comm;
    const int64_t before = gpu_bytes_allocated();
    Engine engine(resolve_model(config, {"a", "b", "c"}), config, true, comm);
    auto sync = make_grad_sync({}, engine.task().parameters(), comm);
    StepNumbers numbers(engine.device());
    EXPECT_EQ(gpu_bytes_allocated() - before, engine.plan().on_device()) << precision;
  }
}

TEST_F(CudaVit, ABatchThatDoesNotFitIsRefusedWithTheLargestThatDoes) {
  const std::string message = message_of(
      [&] {
        train("large", 1, kCuda + Settings{{"train.batch_size", "999999"}, {"model.image_size", "96"}});
      },
      Exit::config);
  EXPECT_NE(message.find("of the GPU but"), std::string::npos) << message;
  EXPECT_NE(message.find("try train.batch_size = "), std::string::npos) << message;
}

TEST_F(CudaVit, RanksThatMeetInHostMemoryAreRefused) {
  EXPECT_NE(message_of([&] { train("two", 2, kCuda); }, Exit::config).find("exchange gradients in host memory"),
            std::string::npos);
}

TEST_F(CudaBridgeTower, LearnsWhatTheCpuLearns) {
  for (const char* task : {"itm", "itc", "itm:1, mlm:1, itc:0.5"}) {
    const Settings settings = {{"task.name", task}, {"data.eval", "0.2"}};
    const std::string name = std::to_string(std::string(task).size());
    Path cpu = train("cpu" + name, 1, kCpu + settings), cuda = train("cuda" + name, 1, kCuda + settings);
    ASSERT_EQ(20u, steps(cpu).size());
    expect_same_losses(steps(cpu), steps(cuda), 1e-5);
    for (auto& [metric, value] : evaluations(cpu).back().items())
      if (value.is_number() && metric != "eval_runtime" && metric != "eval_samples_per_second") {
        EXPECT_NEAR(double(value), double(evaluations(cuda).back()[metric]), 1e-4) << task << ", " << metric;
      }
  }
}

TEST_F(CudaBridgeTower, HardNegativesAndFrozenTowersWorkThere) {
  const Settings settings = {
      {"task.name", "itm:1, itc:1"}, {"task.itm_negatives", "hard"}, {"task.freeze", "text"}, {"train.steps", "6"}};
  expect_same_losses(steps(train("cpu", 1, kCpu + settings)), steps(train("cuda", 1, kCuda + settings)), 1e-5);
}

TEST_F(CudaBridgeTower, AReplayedStepHasTheBitsOfAnEagerOne) {
  for (const char* task : {"itm", "itc"}) {
    const Settings settings = kCuda + Settings{{"task.name", task}, {"train.precision", "bf16"}};
    const std::string name = task;
    Path replayed = train("replayed-" + name, 1, settings);
    Path eager = train("eager-" + name, 1, settings + Settings{{"device.graph", "false"}});
    EXPECT_TRUE(weights(replayed) == weights(eager)) << task;
  }
}

}  // namespace
}  // namespace viaduct::test
