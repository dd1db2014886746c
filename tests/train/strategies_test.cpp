// Whole runs by every strategy: the losses of one rank, whatever the number of ranks.
#include "tests/train/runs.hpp"

namespace viaduct::test {
namespace {

// Large enough that every one of four ranks has parameters of its own when they are sharded.
class Strategy : public Runs, public testing::WithParamInterface<std::string> {
 protected:
  Strategy()
      : Runs({{"data.train", (scenes() / "train").string()},
              {"model.hidden_size", "96"},
              {"model.num_hidden_layers", "3"},
              {"model.num_attention_heads", "2"},
              {"model.intermediate_size", "384"},
              {"model.image_size", "24"},
              {"model.patch_size", "8"},
              {"parallel.bucket_mb", "0.3"}}) {}
  Path train(const std::string& name, int ranks, Settings settings) {
    settings.emplace_back("parallel.strategy", GetParam());
    settings.emplace_back("train.batch_size", std::to_string(8 / ranks));
    return Runs::train(name, ranks, settings);
  }
};
INSTANTIATE_TEST_SUITE_P(All, Strategy, testing::Values("ddp", "fast_ddp"));

TEST_P(Strategy, TheNumberOfRanksDoesNotChangeTheLosses) {
  auto one = steps(train("one", 1, {{"train.steps", "50"}}));
  ASSERT_EQ(50u, one.size());
  for (int ranks : {2, 4})
    expect_same_losses(one, steps(train(std::to_string(ranks), ranks, {{"train.steps", "50"}})), 1e-6);
}

}  // namespace
}  // namespace viaduct::test
