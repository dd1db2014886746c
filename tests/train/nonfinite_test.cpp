// Steps that are not finite: what is left out, what is named, and that nothing else changes.
#include "train/nonfinite.hpp"

#include "models/safetensors.hpp"
#include "tests/train/poisoned.hpp"
#include "train/checkpoint.hpp"

namespace viaduct::test {
namespace {

class NonfiniteTest : public Poisoned {};

const Settings kSkip = {{"train.nonfinite", "skip"}, {"train.lr", "1e-2"}};

TEST_F(NonfiniteTest, AStepThatIsLeftOutChangesNothing) {
  for (const char* strategy : {"ddp", "zero1", "zero2"})
    for (const char* precision : {"fp32", "bf16"}) {
      Path folder = train(fmt::format("{}-{}", strategy, precision), 2,
                          from_poisoned() + kSkip +
                              Settings{{"parallel.strategy", strategy},
                                       {"train.precision", precision},
                                       {"train.weight_decay", "0.1"},
                                       {"train.batch_size", "48"},  // every step has all classes
                                       {"train.steps", "3"}});
      EXPECT_TRUE(weights(folder) == read_file(poisoned_model() / "model.safetensors", 64 << 20)) << strategy;
      const Checkpoint end = open_checkpoint(folder / "checkpoints/step-00000003");
      EXPECT_EQ(end.state.integer("updates"), 0);
      for (const char* moment : {"adam_m.safetensors", "adam_v.safetensors"}) {
        SafetensorsFile file(end.path / moment);
        for (const auto& tensor : file.tensors()) {
          int64_t n = 1;
          for (int64_t side : tensor.shape) n *= side;
          std::vector<float> values(size_t(n), 1);
          file.read(tensor, {0, n}, values.data());
          EXPECT_EQ(values, std::vector<float>(size_t(n), 0)) << tensor.name;
        }
      }
      EXPECT_EQ(steps(folder).back()["left_out"], 3);
      EXPECT_TRUE(steps(folder).back()["loss"].is_null()) << "it is not hidden from the log";
    }
}

TEST_F(NonfiniteTest, ExactlyTheGuiltySamplesAreNamed) {
  const Settings settings = from_poisoned() + kSkip;
  Path one = train("one", 1, settings + Settings{{"train.batch_size", "4"}});
  EXPECT_EQ(named(one), guilty_samples(4, 12));
  ASSERT_GT(named(one).size(), 1u);
  ASSERT_LT(named(one).size(), 12u) << "some steps are sound";
  EXPECT_EQ(size_t(steps(one).back()["left_out"]), named(one).size());
  Path two = train("two", 2, settings + Settings{{"train.batch_size", "1"}, {"train.accumulate", "2"}});
  EXPECT_EQ(named(two), named(one));
  for (const auto& line : lines(two, "nonfinite")) EXPECT_EQ(line["nonfinite"], "the loss");
}

TEST_F(NonfiniteTest, AnyNumberOfRanksLeavesOutTheSame) {
  const Settings settings = from_poisoned() + kSkip + Settings{{"parallel.reduction", "invariant"}};
  Path one = train("one", 1, settings + Settings{{"train.batch_size", "4"}});
  for (const char* strategy : {"ddp", "zero1", "zero2"}) {
    Path two = train(strategy, 2, settings + Settings{{"train.batch_size", "2"}, {"parallel.strategy", strategy}});
    EXPECT_TRUE(weights(one) == weights(two)) << strategy;
  }
}

TEST_F(NonfiniteTest, AResumedRunIsTheUninterruptedRun) {
  const Settings settings =
      from_poisoned() + kSkip + Settings{{"train.batch_size", "2"}, {"run.checkpoint_every", "3"}};
  Path whole = train("whole", 2, settings);
  EXPECT_THROW(train("cut", 2, settings + Settings{{"fault.kind", "throw"}, {"fault.step", "8"}}), Error);
  Path cut = train("cut", 2, settings + Settings{{"run.resume", "auto"}});
  EXPECT_TRUE(weights(whole) == weights(cut));
  EXPECT_EQ(named(whole), named(cut));
  EXPECT_EQ(steps(whole).back()["left_out"], steps(cut).back()["left_out"]);
}

TEST_F(NonfiniteTest, AStopNamesThemToo) {
  const auto guilty = guilty_samples(4, 12);
  const std::string message = message_of(
      [&] {
        train("stop", 1, from_poisoned() + Settings{{"train.batch_size", "4"}});
      },
      Exit::diverged);
  EXPECT_NE(message.find(fmt::format("training diverged at step {}: the loss of rank 0 is not finite; first in the "
                                     "loss; {}: {}",
                                     guilty.begin()->first, guilty.begin()->second.size() == 1 ? "sample" : "samples",
                                     fmt::join(guilty.begin()->second, ", "))),
            std::string::npos)
      << message;
}

// No later step could be sound.
TEST_F(NonfiniteTest, ADamagedParameterEndsTheRunInAnyCase) {
  const std::string message = message_of(
      [&] {
        train("nan", 2, kSkip + Settings{{"fault.kind", "nan"}, {"fault.rank", "1"}, {"fault.step", "3"}});
      },
      Exit::diverged);
  EXPECT_NE(message.find("step 4: the loss of rank 1 is not finite; first in parameter vit.embeddings.cls_token of "
                         "rank 1"),
            std::string::npos)
      << message;
}

TEST(Nonfinite, LongListsAreCut) {
  Nonfinite what{.tensor = "the loss"};
  EXPECT_EQ(what.text(), "; first in the loss");
  for (int i = 0; i < 10; ++i) what.samples.push_back(std::to_string(i));
  EXPECT_EQ(what.text(), "; first in the loss; samples: 0, 1, 2, 3, 4, 5, 6, 7 and 2 more");
}

}  // namespace
}  // namespace viaduct::test
