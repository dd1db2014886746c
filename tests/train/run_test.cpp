// Whole runs of a tiny model on generated scenes, ranks as threads: what must not change when the number of ranks does,
// when a run is interrupted, or when the last batch is short.
#include "tests/train/runs.hpp"

namespace viaduct::test {
namespace {

class RunTest : public Runs {
 protected:
  RunTest()
      : Runs({{"data.train", (scenes() / "train").string()},
              {"model.hidden_size", "24"},
              {"model.num_hidden_layers", "2"},
              {"model.num_attention_heads", "2"},
              {"model.intermediate_size", "32"},
              {"model.image_size", "24"},
              {"model.patch_size", "8"}}) {}
};

TEST_F(RunTest, TheNumberOfRanksDoesNotChangeTheLosses) {
  auto one = steps(train("one", 1, {{"train.steps", "50"}, {"train.batch_size", "8"}}));
  ASSERT_EQ(50u, one.size());
  expect_same_losses(one, steps(train("two", 2, {{"train.steps", "50"}, {"train.batch_size", "4"}})), 1e-6);
  expect_same_losses(one, steps(train("four", 4, {{"train.steps", "50"}, {"train.batch_size", "2"}})), 1e-6);
  expect_same_losses(
      one, steps(train("passes", 2, {{"train.steps", "50"}, {"train.batch_size", "2"}, {"train.accumulate", "2"}})),
      1e-6);
}

TEST_F(RunTest, NorDoTheyChangeWhatIsMixed) {
  const Settings mixed = {
      {"augment.mixup", "0.8"},           {"augment.cutmix", "1"}, {"augment.random_erasing", "0.25"},
      {"augment.label_smoothing", "0.1"}, {"train.steps", "14"},   {"train.lr", "0"}};
  auto one = steps(train("one", 1, mixed + Settings{{"train.batch_size", "8"}}));
  expect_same_losses(one, steps(train("two", 2, mixed + Settings{{"train.batch_size", "4"}, {"data.workers", "2"}})),
                     1e-6);
  auto plain = steps(train("plain", 1, {{"train.steps", "14"}, {"train.lr", "0"}}));
  EXPECT_NE(one[0]["loss"], plain[0]["loss"]);
  EXPECT_NE(one[0]["loss"], one[12]["loss"]) << "the same images in the next epoch, mixed otherwise";
}

// The last batch of an epoch is short, and some ranks hold none of it.
TEST_F(RunTest, AShortLastBatchIsExact) {
  namespace fs = std::filesystem;
  int64_t images = 0;
  for (auto& entry : fs::recursive_directory_iterator(scenes() / "train")) images += entry.is_regular_file();
  int64_t global = 5 * 7, per_epoch = (images + global - 1) / global;
  ASSERT_GT(images % global, 0);
  ASSERT_LT(images % global, global - 7) << "every rank holds samples of the last batch";
  auto one = steps(train("one", 1, {{"train.batch_size", "35"}}));
  auto five = steps(train("five", 5, {{"train.batch_size", "7"}, {"data.workers", "2"}}));
  expect_same_losses(one, five, 1e-6);
  EXPECT_EQ(images, int64_t(one[size_t(per_epoch) - 1]["samples"]));
  EXPECT_DOUBLE_EQ(1, double(one[size_t(per_epoch) - 1]["epoch"]));
}

const Settings kDropout = {{"model.hidden_dropout_prob", "0.1"},
                           {"model.attention_probs_dropout_prob", "0.1"},
                           {"train.batch_size", "7"},
                           {"train.warmup", "3"},
                           {"train.lr", "1e-3"},
                           {"run.checkpoint_every", "3"}};

TEST_F(RunTest, AResumedRunIsTheUninterruptedRun) {
  for (const char* precision : {"fp32", "bf16"}) {
    auto settings = kDropout;
    settings.emplace_back("train.precision", precision);
    Path whole = train(std::string("whole-") + precision, 2, settings);
    auto crashing = settings;
    crashing.insert(crashing.end(), {{"fault.kind", "throw"}, {"fault.rank", "1"}, {"fault.step", "8"}});
    std::string name = std::string("resumed-") + precision;
    EXPECT_THROW(train(name, 2, crashing), Error);
    settings.emplace_back("run.resume", "auto");
    Path resumed = train(name, 2, settings);
    EXPECT_TRUE(weights(whole) == weights(resumed)) << "final weights differ, " << precision;
    auto a = steps(whole), b = steps(resumed);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i]["loss"], b[i]["loss"]) << "step " << i;
  }
}

TEST_F(RunTest, RanksThatReadOtherModelFilesAreRefused) {
  Path model = train("first", 1, {{"train.steps", "1"}}) / "model", other = runs_ / "other";
  std::filesystem::copy(model, other);
  auto config = nlohmann::json::parse(read_file(other / "config.json", 1 << 20));
  config["layer_norm_eps"] = 1e-5;
  write_bytes(other / "config.json", config.dump());
  auto run = [&](Communicator& comm) {
    run_training(config_for("apart", {{"model.pretrained", (comm.rank() == 1 ? other : model).string()}}), comm, {});
  };
  EXPECT_EQ(0u, message_of([&] { run_ranks(3, run); }).find("rank 1 found another config.json than rank 0"));
}

TEST_F(RunTest, RanksThatAreToldOtherThingsAreRefused) {
  auto run = [&](Communicator& comm) {
    run_training(config_for("apart", {{"train.lr", comm.rank() == 1 ? "0.5" : "0.25"}}), comm, {});
  };
  const std::string message = message_of([&] { run_ranks(3, run); }, Exit::config);
  EXPECT_NE(message.find("do not agree on what they run"), std::string::npos) << message;
  EXPECT_NE(message.find("ranks 0, 2: train.lr = 0.25; rank 1: train.lr = 0.5"), std::string::npos) << message;
}

TEST_F(RunTest, AStopIsAgreedUponAndSaved) {
  request_stop();
  Path folder = train("stopped", 2, kDropout, Exit::preempted);
  EXPECT_EQ(1u, steps(folder).size());
  clear_stop_request();
  auto settings = kDropout;
  settings.emplace_back("run.resume", "auto");
  EXPECT_TRUE(weights(train("whole", 2, kDropout)) == weights(train("stopped", 2, settings)));
}

TEST_F(RunTest, AResumeWithAnotherGlobalBatchIsRefused) {
  train("first", 1, {{"train.steps", "2"}});
  try {
    train("first", 1, {{"train.steps", "2"}, {"train.batch_size", "4"}, {"run.resume", "auto"}});
    FAIL() << "the run went on";
  } catch (const Error& e) {
    EXPECT_EQ(Exit::config, e.code());
    EXPECT_NE(std::string::npos, std::string(e.what()).find("global_batch = 8 and would go on with 4")) << e.what();
  }
}

TEST_F(RunTest, AResumeWithAnotherModelOrOtherImagesIsRefused) {
  Path images = runs_ / "images";
  std::filesystem::copy(scenes() / "train", images, std::filesystem::copy_options::recursive);
  Settings settings = {{"data.train", images.string()}, {"train.steps", "2"}};
  train("first", 1, settings);
  auto has = [](const std::string& text, const char* part) {
    EXPECT_NE(text.find(part), std::string::npos) << text << " lacks " << part;
  };
  has(refused("first", settings, {{"train.batch_size", "4"}, {"model.hidden_dropout_prob", "0.5"}}),
      "config.json/hidden_dropout_prob = 0.0 and would go on with 0.5");
  has(refused("first", settings, {{"train.batch_size", "4"}, {"data.image_pipeline", "torchvision"}}),
      "data.image_pipeline = hf and would go on with torchvision");
  settings.emplace_back("train.batch_size", "4");
  auto folders = std::filesystem::directory_iterator(images);
  std::filesystem::rename(folders->path(), images / "renamed");
  has(refused("first", settings, {}), "data = ");
}

TEST_F(RunTest, ARefusedResumeLeavesTheRecord) {
  Path folder = train("first", 1, {{"train.steps", "2"}});
  int accepted = 0;
  Settings settings = {{"train.steps", "2"}, {"run.resume", "auto"}};
  auto resume = [&](const std::string& batch_size) {
    auto all = settings;
    all.emplace_back("train.batch_size", batch_size);
    train("first", 1, all, Exit::ok, [&](const Config&) { ++accepted; });
  };
  std::string verdict = read_file(folder / "verdict.json", 1 << 20);
  EXPECT_THROW(resume("4"), Error);
  EXPECT_EQ(accepted, 0);
  EXPECT_EQ(read_file(folder / "verdict.json", 1 << 20), verdict);
  resume("8");
  EXPECT_EQ(accepted, 1);
}

TEST_F(RunTest, RanksThatSeeOtherImagesSaySo) {
  std::string text = message_of(
      [&] {
        run_ranks(2, [&](Communicator& comm) {
          Config config;
          Path data = scenes();
          set(config, "data.train", (data / (comm.rank() ? "eval" : "train")).string(), "test");
          set(config, "run.output", runs_.path().string(), "test");
          run_training(config, comm);
        });
      },
      Exit::input);
  EXPECT_NE(text.find("rank 1 sees other data than rank 0"), std::string::npos) << text;
}

TEST_F(RunTest, AnEvaluationThatAStopCameBeforeIsMadeUpFor) {
  Settings settings = {{"data.eval", (scenes() / "eval").string()},
                       {"train.eval_every", "1"},
                       {"train.steps", "3"},
                       {"run.best", "eval_loss"}};
  Path whole = train("whole", 1, settings);
  request_stop();
  Path folder = train("stopped", 1, settings, Exit::preempted);
  EXPECT_TRUE(evaluations(folder).empty());
  clear_stop_request();
  settings.emplace_back("run.resume", "auto");
  train("stopped", 1, settings);
  auto expected = evaluations(whole), found = evaluations(folder);
  ASSERT_EQ(3u, expected.size());
  ASSERT_EQ(3u, found.size());
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(expected[i]["step"], found[i]["step"]);
    EXPECT_EQ(expected[i]["eval_loss"], found[i]["eval_loss"]);
  }
}

TEST_F(RunTest, AStopInTheLastStepStillEvaluates) {
  request_stop();
  Path folder = train("last", 1, {{"data.eval", (scenes() / "eval").string()}, {"train.steps", "1"}});
  EXPECT_EQ(1u, evaluations(folder).size());
}

// The loss by which the best was found is no measure of an accuracy.
TEST_F(RunTest, TheBestBeginsAnewWithAnotherMetric) {
  Settings settings = {
      {"data.eval", (scenes() / "eval").string()}, {"train.eval_every", "1"}, {"run.best", "eval_loss"}};
  request_stop();
  settings.emplace_back("train.eval_every", "2");
  train("best", 1, settings, Exit::preempted);  // at step 1
  auto resumed = settings;
  resumed.emplace_back("run.resume", "auto");
  train("best", 1, resumed, Exit::preempted);  // at step 2, owing its evaluation
  clear_stop_request();
  resumed.emplace_back("fault.kind", "throw");
  resumed.emplace_back("fault.step", "3");
  EXPECT_THROW(train("best", 1, resumed), Error);  // evaluated at step 2
  resumed.back().second = "100";
  resumed.emplace_back("run.best", "eval_accuracy");
  std::string said;
  log::set_sink([&](const std::string& line) { said += line + "\n"; });
  train("best", 1, resumed);
  EXPECT_NE(said.find("the best so far was eval_loss of 24 images"), std::string::npos) << said;
}

TEST_F(RunTest, MoreWarmupThanStepsIsRefused) {
  auto message = [&](const char* key, const char* value) {
    return message_of(
        [&] {
          train("warm", 1, {{"train.steps", "epochs"}, {"train.epochs", "1"}, {key, value}});
        },
        Exit::config);
  };
  EXPECT_NE(message("train.warmup", "500").find("train.warmup = 500 is more than the"), std::string::npos);
  EXPECT_NE(message("train.epochs", "9e8").find("expected fewer than 1000000000"), std::string::npos);
}

TEST_F(RunTest, ReplacedImagesOfEveryPassAreCounted) {
  Path images = runs_ / "images";
  std::filesystem::copy(scenes() / "train", images, std::filesystem::copy_options::recursive);
  int broken = 0;
  for (auto& entry : std::filesystem::recursive_directory_iterator(images))
    if (entry.is_regular_file() && broken < 40) write_bytes(entry.path(), "no image"), ++broken;
  auto all = steps(train("replaced", 2,
                         {{"data.train", images.string()},
                          {"data.max_quarantined", "90"},
                          {"train.batch_size", "16"},
                          {"train.accumulate", "3"},
                          {"train.steps", "1"}}));  // an epoch
  EXPECT_EQ(40, int(all.back()["quarantined"]));
}

TEST_F(RunTest, DivergenceStopsTheRunAndSaysSo) {
  try {
    train("diverged", 2, {{"train.lr", "1e30"}, {"train.clip_norm", "0"}, {"train.schedule", "constant"}});
    FAIL() << "the run went on";
  } catch (const Error& e) {
    EXPECT_EQ(Exit::diverged, e.code());
  }
  std::string verdict = read_file(runs_ / "diverged/verdict.json", 1 << 20);
  EXPECT_NE(std::string::npos, verdict.find("diverged")) << verdict;
}

TEST_F(RunTest, EvaluationCountsEverySampleOnce) {
  Settings settings = {{"data.eval", (scenes() / "eval").string()}, {"train.eval_every", "6"}};
  settings.emplace_back("train.batch_size", "8");
  auto one = evaluations(train("one", 1, settings));
  settings.back().second = "2";
  auto four = evaluations(train("four", 4, settings));
  ASSERT_EQ(2u, one.size());
  ASSERT_EQ(2u, four.size());
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(double(one[i]["eval_loss"]), double(four[i]["eval_loss"]), 1e-6 * double(one[i]["eval_loss"]));
    EXPECT_EQ(one[i]["eval_accuracy"], four[i]["eval_accuracy"]);
  }
}

}  // namespace
}  // namespace viaduct::test
