// What a run leaves beside its weights: metrics.jsonl and verdict.json; and what it says meanwhile.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/base/check.hpp"
#include "core/base/log.hpp"
#include "train/metrics_log.hpp"
#include "train/progress.hpp"
#include "train/verdict.hpp"

namespace viaduct {
namespace {
namespace fs = std::filesystem;

class RunFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / fmt::format("viaduct_run_files.{}", ::getpid());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::vector<nlohmann::json> lines(const std::string& name) const {
    std::vector<nlohmann::json> objects;
    std::ifstream file(path(name));
    for (std::string line; std::getline(file, line);) objects.push_back(nlohmann::json::parse(line));
    return objects;
  }
  fs::path folder_;
};

StepReport report(int64_t step) {
  return {.step = step,
          .total_steps = 8,
          .epoch = double(step) / 4,
          .samples = 16 * step,
          .loss = 0.1 * double(step),
          .learning_rate = 0.5,
          .grad_norm = 2,
          .seconds = step % 2 ? 1.0 : 2.0,
          .step_samples = 16,
          .data_seconds = double(step)};
}

TEST_F(RunFiles, MetricsAreALinePerLoggedStep) {
  {
    MetricsLog log(path("metrics.jsonl"), 0, 3);
    for (int64_t step = 1; step <= 8; ++step) log.stepped(report(step));
    log.evaluated(8, 2, {{"eval_loss", 0.25}, {"eval_accuracy", 0.75}});
  }
  auto all = lines("metrics.jsonl");
  ASSERT_EQ(all.size(), 4u);  // steps 3 and 6, the last one, the evaluation
  EXPECT_EQ(all[0]["step"], 3);
  EXPECT_EQ(all[1]["step"], 6);
  EXPECT_EQ(all[1]["loss"].get<double>(), 0.1 * 6);  // of this very step, to the bit
  EXPECT_EQ(all[1]["samples"], 96);
  EXPECT_EQ(all[1]["data_seconds"], 5.0);                           // mean of steps 4, 5, 6
  EXPECT_EQ(all[1]["samples_per_second"].get<double>(), 48.0 / 5);  // 2 + 1 + 2 seconds
  EXPECT_EQ(all[2]["step"], 8);
  EXPECT_EQ(all[3], nlohmann::json({{"step", 8}, {"epoch", 2}, {"eval_accuracy", 0.75}, {"eval_loss", 0.25}}));
  for (const char* key :
       {"epoch", "lr", "grad_norm", "forward_seconds", "backward_seconds", "comm_seconds", "optimizer_seconds"})
    EXPECT_TRUE(all[0].contains(key)) << key;
}

TEST_F(RunFiles, ResumeCutsMetricsBackToTheCheckpoint) {
  {
    MetricsLog log(path("metrics.jsonl"), 0, 1);
    for (int64_t step = 1; step <= 5; ++step) log.stepped(report(step));
  }
  std::ofstream(path("metrics.jsonl"), std::ios::app) << R"({"step": 2, "los)";  // a write that a kill cut short
  {
    MetricsLog log(path("metrics.jsonl"), 3, 1);
    log.stepped(report(4));
  }
  auto all = lines("metrics.jsonl");
  ASSERT_EQ(all.size(), 4u);
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i]["step"], i + 1);
}

TEST_F(RunFiles, MetricsThatAreNotNumbersAreStillJson) {
  {
    MetricsLog log(path("metrics.jsonl"), 0, 1);
    log.write(1, 0.5, {{"loss", std::nan("")}});
  }
  EXPECT_TRUE(lines("metrics.jsonl").at(0)["loss"].is_null());
}

TEST_F(RunFiles, TheFirstVerdictStays) {
  EXPECT_TRUE(write_verdict(folder_, {Exit::diverged, "loss is \"nan\"\n", "backward", 17}));
  EXPECT_FALSE(write_verdict(folder_, {Exit::crash, "a peer died"}));
  auto read = [&] { return nlohmann::json::parse(std::ifstream(path("verdict.json"))); };
  auto verdict = read();
  EXPECT_EQ(verdict["outcome"], "diverged");
  EXPECT_EQ(verdict["exit_code"], 6);
  EXPECT_EQ(verdict["phase"], "backward");
  EXPECT_EQ(verdict["step"], 17);
  EXPECT_EQ(verdict["rank"], 0);
  EXPECT_EQ(verdict["message"], "loss is \"nan\"\n");
  EXPECT_TRUE(verdict.contains("host"));

  clear_verdict(folder_);
  EXPECT_TRUE(write_verdict(folder_, {Exit::ok, "done"}));
  EXPECT_EQ(read()["outcome"], "completed");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);  // no temporary file stays
  EXPECT_FALSE(write_verdict("/nowhere/at/all", {}));
}

TEST_F(RunFiles, OneOfManyRacingVerdictsWinsWhole) {
  std::atomic<int> winners = 0;
  {
    std::vector<std::jthread> ranks;
    for (int i = 0; i < 8; ++i)
      ranks.emplace_back([&, i] {
        winners += write_verdict(folder_, {Exit::crash, std::string(1000, char('a' + i))});
      });
  }
  EXPECT_EQ(winners, 1);
  std::string message = nlohmann::json::parse(std::ifstream(path("verdict.json")))["message"];
  EXPECT_EQ(message, std::string(1000, message[0]));
}

TEST(Progress, BarFitsTheTerminal) {
  EXPECT_EQ(bar_line(30, 5, 10, "abc"), " 50% [=========         ] abc");
  EXPECT_EQ(bar_line(30, 10, 10, "abc"), "100% [==================] abc");
  for (int width : {1, 5, 12, 20, 80, 300}) EXPECT_LT(bar_line(width, 3, 7, "step 3/7").size(), size_t(width)) << width;
}

TEST(Progress, PlainLinesWithoutATerminal) {
  if (terminal_width()) GTEST_SKIP() << "standard error is a terminal";
  std::vector<std::string> said;
  log::set_sink([&](const std::string& line) { said.push_back(line); });
  {
    Progress shown(0, 4, true), silent(0, 1, false);
    for (int64_t step = 1; step <= 8; ++step) shown.stepped(report(step)), silent.stepped(report(step));
    shown.evaluated(8, 2, {{"eval_loss", 0.25}});
  }
  log::set_sink(nullptr);
  ASSERT_EQ(said.size(), 3u);
  EXPECT_TRUE(said[0].starts_with("step 4/8  epoch 1.00  loss 0.4000  lr 0.5  grad norm 2  10.7 images/s")) << said[0];
  EXPECT_NE(said[2].find("eval_loss 0.25"), std::string::npos);
}

}  // namespace
}  // namespace viaduct
