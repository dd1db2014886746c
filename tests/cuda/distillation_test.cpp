// A student on the cuda device: what it learns on the CPU, with the same bits replayed, eager and from a cache.
#include "tests/train/runs.hpp"

namespace viaduct::test {
namespace {

class CudaDistillation : public Runs {
 protected:
  CudaDistillation()
      : Runs({{"data.train", (scenes() / "train").string()},
              {"data.eval", (scenes() / "eval").string()},
              {"device.kind", "cuda"},
              {"train.lr", "1e-3"}}) {}
};

TEST_F(CudaDistillation, LearnsWhatTheCpuLearns) {
  Path teacher = train("teacher", 1,
                       {{"model.hidden_size", "32"},
                        {"model.num_hidden_layers", "2"},
                        {"model.num_attention_heads", "2"},
                        {"model.intermediate_size", "48"},
                        {"model.image_size", "24"},
                        {"model.patch_size", "8"}});
  const Settings student{{"task.name", "distillation"},
                         {"task.teacher", teacher.string()},
                         {"model.hidden_size", "16"},
                         {"task.losses", "label:0.5, soft:0.5, deit_hard:0.1, mse:0.1"}};
  const Settings features = student + Settings{{"task.losses", "label:0.5, soft:0.2, feature:1"}};
  const Settings token = student + Settings{{"task.distillation_token", "true"}};
  int number = 0;
  for (const Settings& settings : {student, features, token}) {
    auto name = [&](const char* what) { return fmt::format("{}-{}", what, number); };
    Path cuda = train(name("cuda"), 1, settings);
    expect_same_losses(steps(train(name("cpu"), 1, settings + Settings{{"device.kind", "cpu"}})), steps(cuda), 1e-5);
    EXPECT_TRUE(weights(cuda) == weights(train(name("eager"), 1, settings + Settings{{"device.graph", "false"}})));
    if (number++ == 1) continue;  // features are not kept
    const Settings cached = settings + Settings{{"task.cache", (runs_ / name("answers")).string()}};
    EXPECT_TRUE(weights(cuda) == weights(train(name("cached"), 1, cached)));
  }
}

}  // namespace
}  // namespace viaduct::test
