// parallel.reduction = invariant: the same bits for any number of ranks and every strategy.
#include "tests/train/runs.hpp"
#include "tests/train/tiny_bridgetower.hpp"

namespace viaduct::test {
namespace {

const std::vector<std::string> kStrategies{"ddp", "fast_ddp", "zero1", "zero2"};

class Invariant : public Runs {
 protected:
  Invariant()
      : Runs({{"data.train", (scenes() / "train").string()},
              {"model.hidden_size", "96"},
              {"model.num_hidden_layers", "2"},
              {"model.num_attention_heads", "2"},
              {"model.intermediate_size", "192"},
              {"model.image_size", "24"},
              {"model.patch_size", "8"},
              {"model.hidden_dropout_prob", "0.1"},
              {"train.lr", "1e-3"},
              {"parallel.bucket_mb", "0.1"},
              {"parallel.reduction", "invariant"},
              {"parallel.micro_batch", "2"}}) {}

  struct Outcome {
    std::string weights;
    std::vector<std::string> losses;  // and norms, as text: all their digits
    bool operator==(const Outcome&) const = default;
  };
  Outcome outcome(const std::string& name, int ranks, const Settings& settings) {
    Path folder = train(name, ranks, Settings{{"train.steps", "6"}} + settings);
    Outcome found{weights(folder), {}};
    for (const auto& line : steps(folder)) found.losses.push_back(line["loss"].dump() + " " + line["grad_norm"].dump());
    return found;
  }
};

TEST_F(Invariant, AnyNumberOfRanksAndEveryStrategyGiveTheSameBits) {
  // 96 pictures: the last batch of an epoch is short, and its last leaf too.
  const Outcome one = outcome("one", 1, {{"train.batch_size", "40"}});
  ASSERT_EQ(one.losses.size(), 6u);
  EXPECT_TRUE(outcome("passes", 1, {{"train.batch_size", "8"}, {"train.accumulate", "5"}}) == one);
  for (const std::string& strategy : kStrategies)
    for (int ranks : {1, 2, 4}) {
      const Settings settings{{"parallel.strategy", strategy}, {"train.batch_size", std::to_string(40 / ranks)}};
      const Outcome found = outcome(strategy + std::to_string(ranks), ranks, settings);
      EXPECT_TRUE(found == one) << strategy << " on " << ranks << " ranks";
    }
}

TEST_F(Invariant, EightRanksToo) {
  const Outcome one = outcome("one", 1, {{"train.batch_size", "16"}});
  for (const std::string& strategy : kStrategies)
    EXPECT_TRUE(outcome(strategy, 8, {{"parallel.strategy", strategy}, {"train.batch_size", "2"}}) == one) << strategy;
}

TEST_F(Invariant, Bf16Too) {
  const Settings bf16{{"train.precision", "bf16"}};
  const Outcome one = outcome("one", 1, bf16 + Settings{{"train.batch_size", "16"}});
  for (const std::string& strategy : kStrategies)
    EXPECT_TRUE(outcome(strategy, 4, bf16 + Settings{{"parallel.strategy", strategy}, {"train.batch_size", "4"}}) ==
                one)
        << strategy;
}

// It is close to what plain fp32 sums give, and the size of a leaf is what may change the bits.
TEST_F(Invariant, IsCloseToPlainSums) {
  const Settings eight{{"train.batch_size", "8"}};
  auto run = [&](const char* name, const Settings& more) { return steps(train(name, 1, eight + more)); };
  expect_same_losses(run("plain", {{"parallel.reduction", "fast"}}), run("invariant", {}), 1e-5);
}

TEST_F(Invariant, RefusesWhatHasNoSuchSum) {
  auto refused = [&](const Settings& settings) {
    return message_of([&] { validate(config_for("none", settings)); }, Exit::config);
  };
  EXPECT_NE(refused({{"parallel.micro_batch", "3"}}).find("does not divide the 8 samples"), std::string::npos);
  EXPECT_NE(refused({{"parallel.wire", "bf16"}}).find("travels as int64"), std::string::npos);
  EXPECT_EQ(refused({{"train.batch_size", "3"}, {"train.accumulate", "2"}}), "no error") << "6 are 3 leaves of 2";
}

class InvariantTexts : public Invariant {
 protected:
  InvariantTexts() {
    model_ = tiny_bridgetower() + Settings{{"parallel.reduction", "invariant"}, {"parallel.micro_batch", "2"},
                                           {"parallel.bucket_mb", "0.02"},      {"task.name", "itm, itc, mlm"},
                                           {"task.itm_negatives", "hard"},      {"train.lr", "1e-3"}};
  }
};

// Contrastive losses among the pairs of a leaf, hard negatives of a leaf, masked tokens of the whole step.
TEST_F(InvariantTexts, SeveralLossesGiveTheSameBits) {
  const Outcome one = outcome("one", 1, {{"train.batch_size", "8"}});
  for (const std::string& strategy : kStrategies)
    for (int ranks : {2, 4}) {
      const Settings settings{{"parallel.strategy", strategy}, {"train.batch_size", std::to_string(8 / ranks)}};
      EXPECT_TRUE(outcome(strategy + std::to_string(ranks), ranks, settings) == one) << strategy << ", " << ranks;
    }
}

TEST_F(InvariantTexts, NegativesOfAllRanksAreRefused) {
  EXPECT_NE(message_of(
                [&] {
                  train("global", 1, {{"task.negatives", "global"}});
                },
                Exit::config)
                .find("its loss is no sum over passes"),
            std::string::npos);
}

}  // namespace
}  // namespace viaduct::test
