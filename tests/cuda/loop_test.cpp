// What the training loop decides or adds, on the cuda device, with replayed steps.
#include "tests/train/poisoned.hpp"

namespace viaduct::test {
namespace {

const Settings kCuda = {{"device.kind", "cuda"}}, kCpu = {{"device.kind", "cpu"}};

class CudaLoop : public Poisoned {};

TEST_F(CudaLoop, LeavesOutTheStepsThatTheCpuLeavesOut) {
  const Settings settings = from_poisoned() + Settings{{"train.nonfinite", "skip"},
                                                       {"train.batch_size", "2"},
                                                       {"train.accumulate", "2"},
                                                       {"train.lr", "1e-3"},
                                                       {"train.steps", "16"}};
  Path cpu = train("cpu", 1, settings + kCpu), replayed = train("replayed", 1, settings + kCuda);
  Path eager = train("eager", 1, settings + kCuda + Settings{{"device.graph", "false"}});
  EXPECT_EQ(named(replayed), guilty_samples(4, 16));
  EXPECT_EQ(named(replayed), named(cpu));
  EXPECT_TRUE(weights(replayed) == weights(eager));
  EXPECT_THROW(train("stop", 1, settings + kCuda + Settings{{"train.nonfinite", "stop"}}), Error);

  const Settings all_bad = settings + kCuda + Settings{{"train.batch_size", "48"}, {"train.steps", "4"}};
  EXPECT_TRUE(weights(train("bad", 1, all_bad)) == read_file(poisoned_model() / "model.safetensors", 64 << 20));
}

}  // namespace
}  // namespace viaduct::test
