// Ranks on GPUs: processes that exchange gradients over NCCL. On the emulated device it is the stand-in of
// tests/emulation/nccl.cpp; on a real one two ranks share it, which NCCL accepts from what look like different hosts.
#include "core/device/gpus.hpp"
#include "tests/app/program.hpp"

namespace viaduct::test {
namespace {

class CudaRanks : public ProgramTest {
 protected:
  static std::string on_device() {
    return tiny() + " --device.kind cuda --train.steps 12 --train.eval_every never --run.checkpoint_every never" +
           " --parallel.bucket_mb 0.05";
  }
  std::string folder(const std::string& name) const { return (own_ / name).string(); }
  // The program of this device.
  static std::string program() {
    const char* build = std::getenv("VIADUCT_BUILD");
    const std::string emulated = std::filesystem::absolute(std::string(build ? build : "build") + "/emulated/viaduct");
    return gpu(0).name.find("emulated") != std::string::npos ? emulated : test::program();
  }
  static Result ranks(int n, const std::string& arguments) {
    return shell(  // the emulated device does its work when it is waited for, as a real one may
        "export EMULATION_STREAMS=late NCCL_P2P_DISABLE=1 NCCL_SHM_DISABLE=1 NCCL_NET=Socket NCCL_SOCKET_IFNAME=lo "
        "NCCL_IB_DISABLE=1 "
        "NCCL_NVLS_ENABLE=0 NCCL_MAX_CTAS=2\nexec $mpirun " +
        std::to_string(n) + " bash -c 'NCCL_HOSTID=rank$OMPI_COMM_WORLD_RANK exec " + program() + " \"$@\"' - " +
        arguments);
  }
  std::vector<double> losses(const std::string& run) const {
    std::vector<double> found;
    for (const auto& line : json_lines(folder(run) + "/metrics.jsonl"))
      if (line.contains("loss")) found.push_back(line["loss"]);
    return found;
  }
  void train(const std::string& name, int n, const std::string& arguments) {
    Result result = ranks(n, "train " + on_device() + " --run.output " + folder(name) + " --train.batch_size " +
                                 std::to_string(8 / n) + " " + arguments);
    ASSERT_EQ(result.code, 0) << result.err;
    if (n > 1) {
      EXPECT_NE(result.err.find("over nccl"), std::string::npos) << result.err;
    }
  }
};

TEST_F(CudaRanks, EveryStrategyLearnsWhatOneRankLearns) {
  train("one", 1, "");
  const auto one = losses("one");
  ASSERT_EQ(one.size(), 12u);
  for (const std::string strategy : {"ddp", "fast_ddp", "zero1"}) {
    train(strategy, 2, "--parallel.strategy " + strategy);
    const auto two = losses(strategy);
    ASSERT_EQ(two.size(), one.size());
    for (size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(two[i], one[i], 1e-5 * one[i]) << strategy << " step " << i;
  }
}

TEST_F(CudaRanks, AReplayedStepHasTheBitsOfAnEagerOne) {
  for (const std::string strategy : {"ddp", "zero1"}) {
    const std::string arguments = "--train.precision bf16 --parallel.strategy " + strategy;
    train("replayed-" + strategy, 2, arguments);
    train("eager-" + strategy, 2, arguments + " --device.graph off");
    auto weights = [&](const std::string& run) { return read_bytes(folder(run) + "/model/model.safetensors"); };
    EXPECT_TRUE(weights("replayed-" + strategy) == weights("eager-" + strategy)) << strategy;
  }
}

TEST_F(CudaRanks, ACheckpointOfADividedOptimizerGoesOnUndivided) {
  const std::string saved = " --run.checkpoint_every 6 --train.precision bf16 --train.schedule constant";
  train("whole", 2, saved + " --parallel.strategy zero1");
  Result cut =
      ranks(2, "train " + on_device() + saved + " --train.batch_size 4 --parallel.strategy zero1 --run.output " +
                   folder("cut") + " --fault.kind throw --fault.step 9");
  ASSERT_NE(cut.code, 0);
  train("cut", 2, saved + " --parallel.strategy ddp --run.resume auto");
  const auto whole = losses("whole"), resumed = losses("cut");
  ASSERT_EQ(whole.size(), resumed.size());
  EXPECT_EQ(whole, resumed);
}

TEST_F(CudaRanks, RanksThatShareAGpuAreRefused) {
  Result result = shell("exec $mpirun 2 " + program() + " train " + on_device() + " --run.output " + folder("shared"));
  EXPECT_EQ(result.code, 2) << result.err;
  EXPECT_NE(result.err.find("ranks 0 and 1 share GPU"), std::string::npos) << result.err;
}

TEST_F(CudaRanks, AKilledRankIsNamed) {
  Result result = ranks(2, "train " + on_device() + " --run.output " + folder("killed") +
                               " --train.batch_size 4 --fault.kind kill --fault.rank 1 --fault.step 4");
  EXPECT_NE(result.code, 0);
  const auto verdict = nlohmann::json::parse(read_bytes(folder("killed") + "/verdict.json"));
  EXPECT_EQ(verdict["rank"], 1) << verdict.dump();
  EXPECT_EQ(verdict["outcome"], "crashed") << verdict.dump();
}

TEST_F(CudaRanks, AStoppedRankIsNamed) {
  Result result = ranks(2, "train " + on_device() + " --run.output " + folder("stopped") +
                               " --train.batch_size 4 --fault.kind stop --fault.rank 1 --fault.step 4"
                               " --parallel.timeout_seconds 3");
  EXPECT_NE(result.code, 0);
  const auto verdict = nlohmann::json::parse(read_bytes(folder("stopped") + "/verdict.json"));
  EXPECT_EQ(verdict["rank"], 1) << verdict.dump();
  EXPECT_EQ(verdict["outcome"], "stalled") << verdict.dump();
}

}  // namespace
}  // namespace viaduct::test
