// Runs, as a launcher sees them: what they leave, how they end, how they go on.
#include <signal.h>

#include <algorithm>
#include <thread>

#include "tests/app/program.hpp"

namespace viaduct::test {
namespace {

class TrainTest : public ProgramTest {
 protected:
  std::string output() const { return (own_ / "run").string(); }
  nlohmann::json verdict() const { return nlohmann::json::parse(read_bytes(own_ / "run" / "verdict.json")); }

  bool any_process() const {
    std::error_code ignored;  // processes come and go
    for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored))
      if (read_bytes(entry.path() / "cmdline").find(output()) != std::string::npos) return true;
    return false;
  }
  // No process of this test is left within a few seconds.
  bool all_ended() const {
    for (int i = 0; i < 100 && any_process(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return !any_process();
  }
};

TEST_F(TrainTest, LeavesARunFolder) {
  for (const char* name : {"config.cfg", "metrics.jsonl", "summary.json", "verdict.json", "checkpoints",
                           "model/config.json", "model/model.safetensors", "model/preprocessor_config.json"})
    EXPECT_TRUE(std::filesystem::exists(run() + "/" + name)) << name;
  auto end = nlohmann::json::parse(read_bytes(run() + "/verdict.json"));
  EXPECT_EQ(end["outcome"], "completed");
  EXPECT_EQ(end["step"], 12);
  auto metrics = json_lines(run() + "/metrics.jsonl");
  auto has = [&](const char* key) {
    return std::any_of(metrics.begin(), metrics.end(), [&](auto& m) { return m.contains(key); });
  };
  for (const char* key : {"loss", "eval_loss", "eval_accuracy", "eval_samples_per_second", "train_samples_per_second",
                          "train_step_seconds", "train_data_seconds_p95", "train_comm_seconds"})
    EXPECT_TRUE(has(key)) << key;
}

TEST_F(TrainTest, TheEffectiveConfigGivesTheSameRun) {
  Result again = ranks(2, "train --config " + run() + "/config.cfg --run.output " + output());
  ASSERT_EQ(again.code, 0) << again.err;
  auto values = [](const std::string& path) {  // without the origins
    std::vector<std::string> lines;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);)
      if (!line.starts_with("output =")) lines.push_back(line.substr(0, line.find(" #")));
    return lines;
  };
  EXPECT_EQ(values(run() + "/config.cfg"), values(output() + "/config.cfg"));
  EXPECT_EQ(read_bytes(run() + "/model/model.safetensors"), read_bytes(output() + "/model/model.safetensors"));
}

TEST_F(TrainTest, AnExistingRunIsNotTouched) {
  auto before = read_bytes(run() + "/metrics.jsonl");
  Result result = ranks(2, "train " + tiny() + " --run.output " + run());
  EXPECT_EQ(result.code, 2);
  EXPECT_NE(result.err.find("holds a run already; go on with it by --run.resume auto"), std::string::npos)
      << result.err;
  EXPECT_EQ(read_bytes(run() + "/metrics.jsonl"), before);
  EXPECT_TRUE(std::filesystem::exists(run() + "/verdict.json"));

  write_bytes(own_ / "file", "");
  EXPECT_EQ(viaduct("train " + tiny() + " --run.output " + (own_ / "file").string()).code, 2);
}

TEST_F(TrainTest, AThrowingRankEndsAllWithItsMessage) {
  Result result =
      ranks(3, "train " + tiny() + " --run.output " + output() + " --fault.kind throw --fault.rank 1 --fault.step 3");
  EXPECT_EQ(result.code, 4) << result.err;
  EXPECT_NE(result.err.find("[rank 1 on"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("a failure on purpose"), std::string::npos) << result.err;
  EXPECT_EQ(verdict()["outcome"], "crashed");
  EXPECT_EQ(verdict()["rank"], 1);
  EXPECT_EQ(verdict()["step"], 3);
  EXPECT_TRUE(all_ended());
}

TEST_F(TrainTest, AKilledRankEndsAll) {
  Result result =
      ranks(2, "train " + tiny() + " --run.output " + output() + " --fault.kind kill --fault.rank 1 --fault.step 3");
  EXPECT_NE(result.code, 0);
  EXPECT_TRUE(all_ended());
}

TEST_F(TrainTest, AHangingRankIsAStall) {
  Result result = ranks(2, "train " + tiny() + " --run.output " + output() +
                               " --fault.kind hang --fault.rank 1 --fault.step 3 --parallel.timeout_seconds 2");
  EXPECT_EQ(result.code, 5) << result.err;
  EXPECT_NE(result.err.find("stalled: for 2 seconds (parallel.timeout_seconds)"), std::string::npos) << result.err;
  EXPECT_EQ(verdict()["outcome"], "stalled");
  EXPECT_EQ(verdict()["rank"], 1);
  EXPECT_EQ(verdict()["phase"], "forward");
  EXPECT_TRUE(all_ended());
}

TEST_F(TrainTest, EveryStrategyGivesTheSameWeights) {
  std::string larger = tiny() + " --model.hidden_size 96 --model.intermediate_size 384 --model.num_hidden_layers 3" +
                       " --parallel.bucket_mb 0.3 --train.steps 30";
  for (std::string strategy : {"ddp", "fast_ddp", "zero1", "zero2"}) {
    Result result = ranks(
        2, "train " + larger + " --parallel.strategy " + strategy + " --run.output " + (own_ / strategy).string());
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(read_bytes(own_ / "ddp/model/model.safetensors"), read_bytes(own_ / strategy / "model/model.safetensors"))
        << strategy;
  }
}

TEST_F(TrainTest, ADivergingRunSaysSo) {
  Result result = ranks(2, "train " + tiny() + " --run.output " + output() + " --train.lr 1e30 --train.clip_norm 0");
  EXPECT_EQ(result.code, 6) << result.err;
  EXPECT_EQ(verdict()["outcome"], "diverged");
}

TEST_F(TrainTest, AStopIsSavedAndGoneOnWithToTheSameWeights) {
  std::string arguments = tiny() + " --run.output " + output() +
                          " --train.steps 2000 --run.checkpoint_every never --train.eval_every never";
  Result stopped = shell("$mpirun 2 $viaduct train " + arguments +
                         " & pid=$!\n"
                         "until [[ -s " +
                         output() + "/metrics.jsonl ]]; do sleep 0.01; done\nkill -USR1 $pid\nwait $pid");
  ASSERT_EQ(stopped.code, 75) << stopped.err;
  EXPECT_EQ(verdict()["outcome"], "preempted");
  int64_t step = verdict()["step"];
  EXPECT_LT(step, 2000);

  Result resumed = ranks(2, "train " + arguments + " --run.resume auto");
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(verdict()["outcome"], "completed");
  std::vector<int64_t> steps;
  for (const auto& line : json_lines(output() + "/metrics.jsonl"))
    if (line.contains("loss")) steps.push_back(line["step"]);
  ASSERT_EQ(steps.size(), 2000u);  // none missing, none twice
  for (size_t i = 0; i < steps.size(); ++i) ASSERT_EQ(steps[i], int64_t(i) + 1);

  std::string whole = (own_ / "whole").string();
  ASSERT_EQ(ranks(2, "train " + arguments + " --run.output " + whole).code, 0);  // the last of two counts
  EXPECT_EQ(read_bytes(whole + "/model/model.safetensors"), read_bytes(output() + "/model/model.safetensors"));
}

TEST_F(TrainTest, ARefusedResumeLeavesTheRecordOfTheRun) {
  std::string arguments = tiny() + " --train.steps 2 --run.output " + output();
  ASSERT_EQ(viaduct("train " + arguments).code, 0);
  auto record = [&] { return read_bytes(output() + "/config.cfg") + read_bytes(output() + "/verdict.json"); };
  std::string before = record();
  EXPECT_EQ(viaduct("train " + arguments + " --run.resume auto --train.batch_size 2").code, 2);
  EXPECT_EQ(record(), before);
  EXPECT_EQ(viaduct("train " + arguments + " --run.resume auto").code, 0);
  EXPECT_NE(record(), before);  // its config says that it was resumed
}

TEST_F(TrainTest, ResumeAutoBeginsWhereThereIsNothing) {
  EXPECT_EQ(viaduct("train " + tiny() + " --train.steps 2 --run.resume auto --run.output " + output()).code, 0);
  Result none = viaduct("train " + tiny() + " --run.resume /nowhere --run.output " + output());
  EXPECT_EQ(none.code, 3) << none.err;
}

}  // namespace
}  // namespace viaduct::test
