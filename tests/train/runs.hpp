// What the tests of whole runs share: generated scenes, runs with ranks as threads, and what a run left.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "comm/signals.hpp"
#include "comm/thread_comm.hpp"
#include "core/base/files.hpp"
#include "core/base/log.hpp"
#include "data/scenes.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/temp_folder.hpp"
#include "train/run.hpp"

namespace viaduct::test {

using Settings = std::vector<std::pair<std::string, std::string>>;
inline Settings operator+(Settings a, const Settings& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Drawn once for all tests: 96 pictures to train on, 24 held out.
inline Path scenes() {
  static TempFolder folder;
  static const bool drawn = [] {
    generate_scenes((folder / "scenes").string(), {.count = 120, .size = 24, .eval_every = 4});
    return true;
  }();
  expect(drawn, "scenes are drawn on first use");
  return folder / "scenes";
}

inline Config config_of(const Settings& settings) {
  Config config;
  for (const auto& [key, value] : settings) set(config, key, value, "test");
  return config;
}

class Runs : public testing::Test {
 protected:
  explicit Runs(Settings model) : model_(std::move(model)) {}
  void SetUp() override {
    log::set_sink([](const std::string&) {});
    clear_stop_request();
  }
  void TearDown() override { log::set_sink({}); }

  // Runs into folder `name`; returns it. Later settings beat earlier ones.
  Path train(const std::string& name, int ranks, const Settings& settings, Exit expected = Exit::ok,
             const Accepted& accepted = {}) {
    Config config = config_for(name, settings);
    run_ranks(ranks, [&](Communicator& comm) { EXPECT_EQ(expected, run_training(config, comm, accepted)); });
    return config.run.output;
  }
  Config config_for(const std::string& name, const Settings& settings) {
    Path folder = runs_ / name;
    make_folders(folder);
    return config_of(
        model_ +
        Settings{
            {"run.output", folder.string()}, {"data.workers", "0"}, {"run.log_every", "1"}, {"train.steps", "12"}} +
        settings);
  }
  // What a resume of a run of two ranks with `settings` and `change` says.
  std::string refused(const std::string& name, const Settings& settings, const Settings& change) {
    return message_of([&] { train(name, 2, settings + Settings{{"run.resume", "auto"}} + change); }, Exit::config);
  }

  static std::vector<nlohmann::json> lines(const Path& folder, const char* key) {
    std::ifstream file(folder / "metrics.jsonl");
    std::vector<nlohmann::json> found;
    for (std::string line; std::getline(file, line);)
      if (auto object = nlohmann::json::parse(line); object.contains(key)) found.push_back(object);
    return found;
  }
  static std::vector<nlohmann::json> steps(const Path& folder) { return lines(folder, "loss"); }
  static std::vector<nlohmann::json> evaluations(const Path& folder) { return lines(folder, "eval_loss"); }
  static std::string weights(const Path& folder) { return read_file(folder / "model/model.safetensors", 64 << 20); }

  Settings model_;
  TempFolder runs_;
};

inline void expect_same_losses(const std::vector<nlohmann::json>& a, const std::vector<nlohmann::json>& b,
                               double relative) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_NEAR(double(a[i]["loss"]), double(b[i]["loss"]), relative * double(a[i]["loss"])) << "step " << i;
    EXPECT_NEAR(double(a[i]["grad_norm"]), double(b[i]["grad_norm"]), 100 * relative * double(a[i]["grad_norm"]))
        << "step " << i;
    EXPECT_EQ(a[i]["samples"], b[i]["samples"]);
  }
}

}  // namespace viaduct::test
