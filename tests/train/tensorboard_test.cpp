// A run's event files, as the real TensorBoard reads them. It is Python's, and not needed to build or to train: where
// $VIADUCT_PYTHON (or python3) has no tensorboard package, the tests that need it say so.
#include <gmock/gmock.h>

#include <cstdlib>

#include "tests/support/source_path.hpp"
#include "tests/train/tiny_bridgetower.hpp"
#include "train/event_file.hpp"

namespace viaduct::test {
namespace {

std::string python() {
  const char* named = std::getenv("VIADUCT_PYTHON");
  return named ? named : "python3";
}

class TensorBoardRun : public Runs {
 protected:
  TensorBoardRun()
      : Runs({{"data.train", (scenes() / "train").string()},
              {"data.eval", (scenes() / "eval").string()},
              {"model.hidden_size", "24"},
              {"model.num_hidden_layers", "2"},
              {"model.num_attention_heads", "2"},
              {"model.intermediate_size", "32"},
              {"model.image_size", "24"},
              {"model.patch_size", "8"},
              {"train.eval_every", "4"},
              {"run.checkpoint_every", "4"},
              {"run.tensorboard", "true"}}) {}

  static bool has_tensorboard() {
    return std::system((python() + " -c 'import tensorboard.backend.event_processing.event_accumulator' "
                                   ">/dev/null 2>&1")
                           .c_str()) == 0;
  }
  nlohmann::json read(const Path& folder) const {
    const Path out = runs_ / "events.json";
    const std::string command = python() + " " + source_path("tests/train/read_events.py").string() + " " +
                                folder.string() + " >" + out.string();
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    return nlohmann::json::parse(read_bytes(out), nullptr, false);
  }
  static std::vector<int64_t> steps_of(const nlohmann::json& series) {
    std::vector<int64_t> steps;
    for (const auto& e : series) steps.push_back(e[0]);
    return steps;
  }
};

TEST_F(TensorBoardRun, NoFilesUnlessAskedFor) {
  const Path folder = train("none", 1, {{"run.tensorboard", "false"}, {"train.steps", "1"}});
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    EXPECT_EQ(entry.path().string().find("tfevents"), std::string::npos) << entry.path();
}

TEST_F(TensorBoardRun, WatchingChangesNothing) {
  const Path watched = train("watched", 2, {}), unwatched = train("unwatched", 2, {{"run.tensorboard", "false"}});
  EXPECT_EQ(weights(watched), weights(unwatched));
}

TEST_F(TensorBoardRun, TensorBoardReadsWhatMetricsSay) {
  if (!has_tensorboard()) GTEST_SKIP() << python() << " has no tensorboard package; VIADUCT_PYTHON names one that has";
  const Path folder = train("run", 2, {});
  auto found = read(folder);
  const auto logged = steps(folder);
  auto& losses = found["scalars"]["train/loss"];
  ASSERT_EQ(losses.size(), logged.size());
  for (size_t i = 0; i < logged.size(); ++i) {
    EXPECT_EQ(losses[i][0], logged[i]["step"]);
    EXPECT_EQ(float(losses[i][1]), float(logged[i]["loss"]));
    EXPECT_EQ(float(found["scalars"]["seconds/forward"][i][1]), float(logged[i]["forward_seconds"]));
  }
  EXPECT_EQ(steps_of(found["scalars"]["eval/accuracy"]), (std::vector<int64_t>{4, 8, 12}));
  ASSERT_EQ(found["images"].size(), 8u);
  for (const auto& [tag, pictures] : found["images"].items())
    for (const auto& p : pictures) EXPECT_EQ(p, (nlohmann::json{p[0], 24, 24, "ffd8"})) << tag;
  EXPECT_EQ(steps_of(found["images"]["predictions/7"]), (std::vector<int64_t>{4, 8, 12}));
  const std::string table = found["texts"]["predictions"][2][1];
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 2 + 8) << table;
}

// The run of eight steps was saved at the fourth; what it said of later ones is said again, once.
TEST_F(TensorBoardRun, AfterAResumeNoStepIsThereTwice) {
  if (!has_tensorboard()) GTEST_SKIP() << python() << " has no tensorboard package; VIADUCT_PYTHON names one that has";
  EXPECT_THROW(train("run", 1, {{"fault.kind", "throw"}, {"fault.step", "7"}}), Error);
  auto before = read(runs_ / "run");
  EXPECT_EQ(steps_of(before["scalars"]["train/loss"]), (std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7}));
  train("run", 1, {{"run.resume", "auto"}});
  auto after = read(runs_ / "run");
  EXPECT_EQ(steps_of(after["scalars"]["train/loss"]), (std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
  EXPECT_EQ(steps_of(after["images"]["predictions/0"]), (std::vector<int64_t>{4, 8, 12}));
}

class TensorBoardPairs : public Runs {
 protected:
  TensorBoardPairs() : Runs(tiny_bridgetower()) {}
  // The bytes of all events of a run of two steps and one evaluation.
  std::string events_of(const std::string& task) {
    const Path folder = train(task, 2,
                              {{"task.name", task},
                               {"data.eval", "0.2"},
                               {"train.steps", "2"},
                               {"train.batch_size", "4"},
                               {"run.tensorboard", "true"}});
    std::string all;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().string().find("tfevents") == std::string::npos) continue;
      const std::string text = read_bytes(entry.path());
      size_t at = 0;
      while (auto message = events::next_frame(text, at)) all += *message;
      EXPECT_EQ(at, text.size());
    }
    return all;
  }
};

TEST_F(TensorBoardPairs, PicturesSayWhatTheirTextsAre) {
  const std::string itm = events_of("itm"), itc = events_of("itc"), mlm = events_of("mlm");
  for (const char* part : {"predictions/3", ".jpg", "match | 0."}) EXPECT_TRUE(itm.find(part) != itm.npos) << part;
  for (const char* part : {"predictions/3", "cosine"}) EXPECT_TRUE(itc.find(part) != itc.npos) << part;
  EXPECT_TRUE(mlm.find("eval/loss") != mlm.npos);
  EXPECT_TRUE(mlm.find("predictions") == mlm.npos);
}

}  // namespace
}  // namespace viaduct::test
