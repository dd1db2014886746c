// Runs of 1, 2, 4 and 8 ranks, as processes: what must not change with the number of ranks, and how faults end.
#include <cmath>

#include "tests/app/program.hpp"

namespace viaduct::test {
namespace {

namespace fs = std::filesystem;

class Parallel : public ProgramTest {
 protected:
  // Large enough that every one of eight ranks has parameters of its own when they are divided.
  static std::string model() {
    return tiny() +
           " --model.hidden_size 96 --model.intermediate_size 384 --model.num_hidden_layers 6 --parallel.bucket_mb 0.3"
           " --train.eval_every never --run.checkpoint_every never";
  }
  std::string folder(const std::string& name) const { return (own_ / name).string(); }
  std::string trained(const std::string& name, int n, const std::string& arguments) {
    Result result = ranks(n, "train " + model() + " --run.output " + folder(name) + " --train.batch_size " +
                                 std::to_string(16 / n) + " " + arguments);
    EXPECT_EQ(result.code, 0) << result.err;
    return folder(name);
  }
  static std::vector<nlohmann::json> steps(const std::string& run) {
    std::vector<nlohmann::json> found;
    for (auto& line : json_lines(run + "/metrics.jsonl"))
      if (line.contains("loss")) found.push_back(line);
    return found;
  }
};

const std::vector<std::pair<std::string, int>> kEachStrategy{{"ddp", 8}, {"fast_ddp", 4}, {"zero1", 2}, {"zero2", 4}};

TEST_F(Parallel, TheNumberOfRanksDoesNotChangeTheLosses) {
  const auto one = steps(trained("one", 1, "--train.steps 50"));
  ASSERT_EQ(one.size(), 50u);
  for (const auto& [strategy, n] : kEachStrategy) {
    const auto many = steps(trained(strategy, n, "--train.steps 50 --parallel.strategy " + strategy));
    ASSERT_EQ(many.size(), 50u);
    for (size_t i = 0; i < one.size(); ++i)
      EXPECT_NEAR(double(one[i]["loss"]), double(many[i]["loss"]), 1e-6 * double(one[i]["loss"]))
          << strategy << " " << i;
  }
}

TEST_F(Parallel, InvariantSumsGiveTheSameWeights) {
  const std::string invariant =
      "--parallel.reduction invariant --parallel.micro_batch 2 --train.steps 8 --parallel.strategy ";
  const auto weights = [](const std::string& run) { return read_bytes(run + "/model/model.safetensors"); };
  const std::string one = weights(trained("one", 1, invariant + "ddp"));
  for (const auto& [strategy, n] : kEachStrategy)
    EXPECT_TRUE(weights(trained(strategy, n, invariant + strategy)) == one) << strategy << " on " << n << " ranks";
}

TEST_F(Parallel, APlanIsSaidOnce) {
  Result plan = ranks(2, "plan " + model());
  ASSERT_EQ(plan.code, 0) << plan.err;
  EXPECT_EQ(plan.out.find("\ntraining, "), plan.out.rfind("\ntraining, ")) << plan.out;
}

// 1,003 pictures in batches of 12: no division of the work leaves one out or counts one twice.
TEST_F(Parallel, AnEpochIsTheSameForAnyNumberOfRanks) {
  ASSERT_EQ(viaduct("scenes " + folder("scenes") + " --scenes.count 1200 --scenes.size 24").code, 0);
  std::vector<fs::path> pictures;
  for (const auto& entry : fs::recursive_directory_iterator(folder("scenes") + "/train"))
    if (entry.is_regular_file()) pictures.push_back(entry.path());
  std::sort(pictures.begin(), pictures.end());
  ASSERT_GT(pictures.size(), 1003u);
  for (size_t i = 1003; i < pictures.size(); ++i) fs::remove(pictures[i]);
  double one = 0;
  for (int n : {1, 2, 3, 4}) {
    const std::string run = folder(std::to_string(n));
    Result result = ranks(n, "train " + tiny() + " --data.train " + folder("scenes") + "/train --run.output " + run +
                                 " --train.steps epochs --train.epochs 1 --train.eval_every never --train.batch_size " +
                                 std::to_string(12 / n));
    ASSERT_EQ(result.code, 0) << result.err;
    double sum = 0, before = 0;
    for (const auto& step : steps(run)) {
      const double samples = step["samples"];
      sum += double(step["loss"]) * (samples - before), before = samples;
    }
    EXPECT_EQ(before, 1003);
    if (n == 1) one = sum;
    EXPECT_NEAR(sum, one, 1e-6 * one) << n << " ranks";
  }
}

// mpirun says the code of what it noticed first: the killed rank or those that end because of it.
constexpr int kKilled = -1;

class FaultRuns : public Parallel {
 protected:
  // A run in which rank 1 has the fault; its verdict.
  nlohmann::json verdict(int n, const std::string& kind, const std::string& phase, int code,
                         const std::string& more = "") {
    const std::string run = folder(kind + phase + std::to_string(n));
    Result result =
        start(n, "train " + tiny() + " --run.output " + run + " --fault.kind " + kind + " --fault.phase " + phase +
                     " --fault.rank 1 --fault.step 3 --train.eval_every 4 --run.checkpoint_every 4" +
                     " --parallel.timeout_seconds 1 " + more);
    EXPECT_TRUE(code == kKilled ? result.code != 0 : result.code == code)
        << result.code << " " << kind << " " << phase << ": " << result.err;
    error_ = result.err;
    const std::string text = read_bytes(run + "/verdict.json");
    EXPECT_NE(text, "") << kind << " " << phase << " left no verdict: " << result.err;
    return text.empty() ? nlohmann::json() : nlohmann::json::parse(text);
  }
  virtual Result start(int n, const std::string& arguments) { return ranks(n, arguments); }
  void expect_verdict(const nlohmann::json& found, const std::string& outcome, const std::string& phase) {
    EXPECT_EQ(found["outcome"], outcome) << found;
    EXPECT_EQ(found["rank"], 1) << found;
    EXPECT_EQ(found["phase"], phase) << found;
    EXPECT_FALSE(std::string(found["host"]).empty());
  }
  std::string error_;
};

// mpirun answers a killed rank with SIGTERM to the others: that must not pass for a request to save and stop.
TEST_F(FaultRuns, AKilledRankIsACrashOfItsOwn) {
  auto found = verdict(4, "kill", "step", kKilled);
  expect_verdict(found, "crashed", "forward");
  EXPECT_EQ(found["step"], 3);
  EXPECT_NE(std::string(found["message"]).find("rank 1 (process "), std::string::npos) << found;
}

TEST_F(FaultRuns, AStoppedRankIsNamedAndNotTheOneThatWaits) {
  auto found = verdict(2, "stop", "eval", 5);
  expect_verdict(found, "stalled", "eval");
  EXPECT_NE(std::string(found["message"]).find("is stopped"), std::string::npos) << found;
}

TEST_F(FaultRuns, AHangingRankIsNamedAndNotTheOneThatWaits) {
  expect_verdict(verdict(2, "hang", "step", 5), "stalled", "forward");
}

// Every rank on a host of its own, as far as it is told.
class HostRuns : public FaultRuns {
 protected:
  Result start(int n, const std::string& arguments) override {
    return shell("exec $mpirun " + std::to_string(n) +
                 " bash -c 'VIADUCT_HOST=host$OMPI_COMM_WORLD_RANK exec \"$0\" \"$@\"' \"$viaduct\" " + arguments);
  }
};

TEST_F(HostRuns, AHostThatFallsSilentIsNamed) {
  auto found = verdict(3, "stop", "step", 5);
  EXPECT_EQ(found["outcome"], "stalled") << found;  // its phase and step are those of its last words
  EXPECT_EQ(found["rank"], 1) << found;
  EXPECT_EQ(found["host"], "host1") << found;
  EXPECT_NE(std::string(found["message"]).find("nothing was heard of host host1 (ranks 1 to 1)"), std::string::npos)
      << found;
  found = verdict(2, "stop", "eval", 5, "--fault.rank 0");  // the one that judges otherwise
  EXPECT_EQ(found["rank"], 0) << found;
  EXPECT_EQ(found["host"], "host0") << found;
}

TEST_F(HostRuns, ARankThatHangsOnAnotherHostIsNamed) {
  auto found = verdict(3, "hang", "step", 5);
  expect_verdict(found, "stalled", "forward");
  EXPECT_EQ(found["host"], "host1") << found;
  EXPECT_NE(std::string(found["message"]).find("rank 1 has not come to where the others wait"), std::string::npos)
      << found;
  found = verdict(2, "hang", "save", 5, "--fault.rank 0");  // a checkpoint may take ten times as long
  EXPECT_EQ(found["rank"], 0) << found;
  EXPECT_EQ(found["phase"], "checkpoint") << found;
}

TEST_F(HostRuns, AHealthyRunIsLeftAlone) {
  Result result = start(3, "train " + tiny() + " --run.output " + folder("well") + " --parallel.timeout_seconds 1");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.err.find("3 ranks on 3 hosts: 1 rank on host0, host1, host2: "), std::string::npos) << result.err;
}

TEST_F(FaultRuns, AThrowingRankSaysSoItself) {
  expect_verdict(verdict(2, "throw", "save", 4), "crashed", "checkpoint");
}

TEST_F(FaultRuns, ALossThatIsNotFiniteIsItsRanks) {
  expect_verdict(verdict(2, "nan", "step", 6), "diverged", "optimizer");
}

TEST_F(FaultRuns, AFlippedBitIsItsRanks) {
  auto found = verdict(4, "bitflip", "step", 4, "--parallel.parity_every 1");
  EXPECT_EQ(found["outcome"], "crashed");
  EXPECT_EQ(found["rank"], 1) << found;
}

TEST_F(FaultRuns, OtherCollectivesAreRefused) {
  auto found = verdict(2, "mismatched_plan", "step", 2);
  EXPECT_EQ(found["outcome"], "bad_config");
  EXPECT_NE(std::string(found["message"]).find("do not agree on the collectives of a step"), std::string::npos)
      << found;
}

TEST_F(FaultRuns, ASlowRankIsNoStall) {
  auto found = verdict(2, "slow", "step", 0);
  EXPECT_EQ(found["outcome"], "completed");
  EXPECT_NE(error_.find("bound by waiting for rank 1, the slowest"), std::string::npos) << error_;
}

class FaultRunsLong : public FaultRuns {};  // make test-long

TEST_F(FaultRunsLong, EveryFaultInEveryPhase) {
  struct End {
    const char *kind, *outcome;
    int code;
  };
  for (int n : {2, 4})
    for (auto [phase, said] :
         {std::pair{"init", "start"}, {"step", "forward"}, {"save", "checkpoint"}, {"eval", "eval"}})
      for (const End& end : {End{"kill", "crashed", kKilled}, End{"throw", "crashed", 4}, End{"stop", "stalled", 5},
                             End{"hang", "stalled", 5}}) {
        SCOPED_TRACE(std::string(end.kind) + " in " + phase + " on " + std::to_string(n) + " ranks");
        expect_verdict(verdict(n, end.kind, phase, end.code), end.outcome, said);
      }
}

TEST_F(FaultRunsLong, DamageInEveryPhase) {
  for (int n : {2, 4})
    for (const char* phase : {"init", "step", "save", "eval"}) {
      SCOPED_TRACE(std::string(phase) + " on " + std::to_string(n) + " ranks");
      EXPECT_EQ(verdict(n, "nan", phase, 6)["rank"], 1);
      EXPECT_EQ(verdict(n, "bitflip", phase, 4, "--parallel.parity_every 1")["outcome"], "crashed");
      EXPECT_EQ(verdict(n, "slow", phase, 0)["outcome"], "completed");
    }
}

}  // namespace
}  // namespace viaduct::test
