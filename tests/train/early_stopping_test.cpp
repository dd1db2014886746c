// Runs that end before their last step: by an evaluation, as Lightning would, or by the clock.
#include "train/early_stopping.hpp"

#include "tests/support/source_path.hpp"
#include "tests/train/runs.hpp"
#include "train/verdict.hpp"

namespace viaduct::test {
namespace {

StopSection section_of(const nlohmann::json& settings) {
  StopSection s;
  s.monitor = "eval_loss", s.mode = settings["mode"], s.min_delta = settings["min_delta"];
  s.patience = settings["patience"], s.check_finite = settings["check_finite"];
  if (auto& t = settings["stopping_threshold"]; t.is_number()) s.stopping_threshold = double(t);
  if (auto& t = settings["divergence_threshold"]; t.is_number()) s.divergence_threshold = double(t);
  return s;
}

// The option that a reason is about.
const std::map<std::string, std::string> kReasons = {{"non_finite_metric", "stop.check_finite"},
                                                     {"stopping_threshold", "stop.stopping_threshold"},
                                                     {"divergence_threshold", "stop.divergence_threshold"},
                                                     {"patience_exhausted", "stop.patience"}};

// Golden values by tests/golden/early_stopping.py. Half-way through, the state goes through a checkpoint's.
TEST(EarlyStopping, DecidesAsLightningDoes) {
  auto cases = nlohmann::json::parse(read_file(source_path("tests/golden/early_stopping.json"), 1 << 20));
  std::set<std::string> seen;
  for (const auto& c : cases) {
    auto stopping = std::make_unique<EarlyStopping>(section_of(c["settings"]));
    for (const auto& check : c["checks"]) {
      RunState state;
      stopping->save(state);
      stopping = std::make_unique<EarlyStopping>(section_of(c["settings"]));
      stopping->restore(RunState::parse(state.json(), "state"));

      stopping->check(std::stod(check["value"].get<std::string>()));
      ASSERT_EQ(!stopping->reason().empty(), bool(check["stop"])) << c << "\n" << check;
      EXPECT_EQ(stopping->waiting(), int64_t(check["waiting"])) << c << "\n" << check;
      EXPECT_EQ(stopping->best(), std::stod(check["best"].get<std::string>())) << c << "\n" << check;
      if (!check["stop"]) continue;
      const std::string option = kReasons.at(check["reason"]);
      EXPECT_NE(stopping->reason().find(option), std::string::npos) << stopping->reason() << " lacks " << option;
      seen.insert(option);
    }
  }
  EXPECT_EQ(seen.size(), kReasons.size()) << "every reason occurs";
}

TEST(EarlyStopping, AnotherMetricBeginsAnewAndOtherSettingsGoOn) {
  StopSection loss;
  loss.monitor = "eval_loss", loss.patience = 1;
  EarlyStopping before(loss);
  before.check(0.5), before.check(0.75);
  EXPECT_FALSE(before.reason().empty());
  RunState state;
  before.save(state);
  auto restored = [&](const StopSection& section) {
    EarlyStopping after(section);
    after.restore(state);
    return after;
  };
  EXPECT_EQ(restored(loss).reason(), before.reason());
  StopSection patient = loss, accuracy = loss;
  patient.patience = 2, accuracy.monitor = "eval_accuracy";
  EXPECT_EQ(restored(patient).reason(), "");
  EXPECT_EQ(restored(patient).waiting(), 1);
  EXPECT_EQ(restored(patient).best(), 0.5);
  EXPECT_EQ(restored(accuracy).waiting(), 0);
  EXPECT_EQ(restored(accuracy).best(), -INFINITY);
}

class Stopped : public Runs {
 protected:
  Stopped()
      : Runs({{"data.train", (scenes() / "train").string()},
              {"data.eval", (scenes() / "eval").string()},
              {"model.hidden_size", "24"},
              {"model.num_hidden_layers", "1"},
              {"model.num_attention_heads", "2"},
              {"model.intermediate_size", "32"},
              {"model.image_size", "24"},
              {"model.patch_size", "8"},
              {"train.eval_every", "2"},
              {"train.lr", "0"}}) {}
  std::string verdict(const Path& folder) {
    return nlohmann::json::parse(read_file(folder / "verdict.json", 1 << 20))["message"];
  }
};

// Without a learning rate nothing ever improves: the first evaluation is the best, the third exhausts the patience.
TEST_F(Stopped, ByTheSameEvaluationOnAnyNumberOfRanks) {
  for (int ranks : {1, 2, 3}) {
    Path folder = train(std::to_string(ranks), ranks, {{"stop.monitor", "eval_loss"}, {"stop.patience", "2"}});
    EXPECT_EQ(steps(folder).size(), 6u) << ranks << " ranks";
    EXPECT_EQ(evaluations(folder).size(), 3u);
    EXPECT_TRUE(std::filesystem::exists(folder / "model/model.safetensors"));
    EXPECT_TRUE(std::filesystem::exists(folder / "checkpoints/step-00000006"));
    EXPECT_NE(verdict(folder).find("has not improved on"), std::string::npos) << verdict(folder);
  }
}

TEST_F(Stopped, AResumedRunStopsWhereTheUninterruptedOneDoes) {
  const Settings settings = {{"stop.monitor", "eval_accuracy"}, {"stop.patience", "3"}, {"run.checkpoint_every", "1"}};
  Path whole = train("whole", 2, settings);
  ASSERT_EQ(steps(whole).size(), 8u);
  EXPECT_THROW(train("cut", 2, settings + Settings{{"fault.kind", "throw"}, {"fault.step", "5"}}), Error);
  clear_verdict(runs_ / "cut");
  Path cut = train("cut", 2, settings + Settings{{"run.resume", "auto"}});
  EXPECT_EQ(steps(cut).size(), 8u);
  EXPECT_TRUE(weights(whole) == weights(cut));
  const std::string reason = verdict(cut);
  clear_verdict(cut);
  train("cut", 2, settings + Settings{{"run.resume", "auto"}});  // it is over, and stays so
  EXPECT_EQ(steps(cut).size(), 8u);
  EXPECT_EQ(verdict(cut), reason);
  clear_verdict(cut);
  train("cut", 2, settings + Settings{{"run.resume", "auto"}, {"stop.patience", "4"}});
  EXPECT_EQ(steps(cut).size(), 10u);
}

TEST_F(Stopped, ByAThreshold) {
  Path folder = train("threshold", 1, {{"stop.monitor", "eval_loss"}, {"stop.stopping_threshold", "1000"}});
  EXPECT_EQ(steps(folder).size(), 2u);
  EXPECT_NE(verdict(folder).find("stop.stopping_threshold = 1000"), std::string::npos) << verdict(folder);
}

// Whatever the machine's speed, the first step takes longer.
TEST_F(Stopped, ByTheClock) {
  const Settings settings = {{"train.max_seconds", "1e-9"}};
  Path folder = train("clock", 2, settings);
  EXPECT_EQ(steps(folder).size(), 1u);
  EXPECT_EQ(evaluations(folder).size(), 1u);
  EXPECT_EQ(verdict(folder), "the time of train.max_seconds is up");
  EXPECT_TRUE(std::filesystem::exists(folder / "model/model.safetensors"));
  clear_verdict(folder);
  train("clock", 2, settings + Settings{{"run.resume", "auto"}});
  EXPECT_EQ(steps(folder).size(), 1u) << "time counts over all parts of a run";
  EXPECT_EQ(lines(folder, "train_runtime").back()["step"], 1);
}

TEST_F(Stopped, AfterSoManySamples) {
  const Settings by_samples = {{"train.steps", "epochs"}, {"train.batch_size", "7"}, {"train.epochs", "100"}};
  auto length = [&](const char* samples) {
    return steps(train(samples, 2, by_samples + Settings{{"train.samples", samples}})).size();
  };
  EXPECT_EQ(length("28"), 2u);
  EXPECT_EQ(length("29"), 3u);
  EXPECT_EQ(length("96"), 7u);  // an epoch: 6 steps of 14, and one of 12
  EXPECT_EQ(length("97"), 8u);
}

TEST_F(Stopped, WhatCannotBeMeasuredIsRefused) {
  auto refusal = [&](const Settings& settings) {
    return message_of([&] { train("refused", 1, settings); }, Exit::config);
  };
  EXPECT_NE(refusal({{"stop.monitor", "eval_text_to_image_recall@1"}}).find("stop.monitor = 'eval_text_to_image"),
            std::string::npos);
}

}  // namespace
}  // namespace viaduct::test
