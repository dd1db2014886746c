// What the training loop decides or adds, on the cuda device, with replayed steps.
#include "comm/self_comm.hpp"
#include "core/device/gpus.hpp"
#include "tests/train/poisoned.hpp"
#include "train/batch_choice.hpp"
#include "train/step_numbers.hpp"

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

TEST_F(CudaLoop, MixesSmoothsAndAveragesAsTheCpuDoes) {
  const Settings settings = {{"augment.mixup", "0.8"},
                             {"augment.cutmix", "1"},
                             {"augment.random_erasing", "0.25"},
                             {"augment.label_smoothing", "0.1"},
                             {"average.decay", "0.9"},
                             {"train.layer_decay", "0.75"},
                             {"data.eval", (scenes() / "eval").string()},
                             {"train.eval_every", "4"},
                             {"train.lr", "1e-3"}};
  Path cpu = train("cpu", 1, settings + kCpu), cuda = train("cuda", 1, settings + kCuda);
  expect_same_losses(steps(cpu), steps(cuda), 1e-5);
  for (size_t i = 0; i < 3; ++i)
    EXPECT_NEAR(double(evaluations(cpu)[i]["eval_loss"]), double(evaluations(cuda)[i]["eval_loss"]), 1e-4);
  for (const char* precision : {"fp32", "bf16"}) {
    const Settings mine = settings + kCuda + Settings{{"train.precision", precision}, {"run.checkpoint_every", "3"}};
    const std::string p = precision;
    Path replayed = train("replayed" + p, 1, mine);
    Path eager = train("eager" + p, 1, mine + Settings{{"device.graph", "false"}});
    EXPECT_THROW(train("cut" + p, 1, mine + Settings{{"fault.kind", "throw"}, {"fault.step", "8"}}), Error);
    Path cut = train("cut" + p, 1, mine + Settings{{"run.resume", "auto"}});
    for (Path other : {eager, cut}) {
      EXPECT_TRUE(weights(replayed) == weights(other)) << p;
      EXPECT_TRUE(read_file(replayed / "average/model.safetensors", 64 << 20) ==
                  read_file(other / "average/model.safetensors", 64 << 20))
          << p;
    }
  }
}

TEST_F(CudaLoop, ThePlanHasTheAverageAndTheMixedLabels) {
  const Config config = config_for("planned", kCuda + Settings{{"average.decay", "0.9"}, {"augment.cutmix", "1"}});
  SelfComm comm;
  const int64_t before = gpu_bytes_allocated();
  Engine engine(resolve_model(config, {"a", "b", "c"}), config, true, comm);
  auto sync = make_grad_sync({}, engine.task().parameters(), comm);
  StepNumbers numbers(engine.device());
  EXPECT_EQ(gpu_bytes_allocated() - before, engine.plan().on_device());
}

TEST_F(CudaLoop, TheLargestBatchIsThatOfTheFreeDeviceMemory) {
  Config config = config_for("auto", kCuda + Settings{{"train.batch_size", "auto"}, {"model.image_size", "96"}});
  const ModelSource source = resolve_model(config, {"a", "b", "c"});
  SelfComm comm;
  const Device device = Device::cuda(0);
  const int64_t free = gpu(device.index).free_bytes;
  settle_batch_size(config, source, 1 << 20, {}, comm);
  EXPECT_EQ(config.train.batch_size, largest_planned_batch(config, source, Device::Kind::cuda, 0, 1, free));
  const MemoryPlan plan =
      plan_memory(task_maker(source, config, 1), step_shape(config, source.choice, Device::Kind::cuda, true));
  EXPECT_LE(plan.on_device(), free);
}

}  // namespace
}  // namespace viaduct::test
