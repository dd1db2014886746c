// Model folders that a user may name by mistake, or that are damaged: the program says what to do, on every rank.
#include <gmock/gmock.h>

#include "tests/app/program.hpp"

namespace viaduct::test {
namespace {
namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class Pretrained : public ProgramTest {
 protected:
  Pretrained() { fs::copy("tests/golden/vit_tiny", folder(), fs::copy_options::recursive); }
  fs::path folder() const { return own_ / "model"; }
  fs::path weights() const { return folder() / "model.safetensors"; }
  // Both commands that read a model, on two ranks: each must end with `code` and say `message`, within seconds.
  void expect_refused(int code, const std::string& message, const std::string& model) {
    for (const std::string& command :
         {"predict " + model + " " + scenes() + "/eval --predict.output " + (own_ / "out.jsonl").string(),
          "train " + tiny_data() + " --model.pretrained " + model + " --run.output " + (own_ / "run").string()}) {
      Result result = ranks(2, command);
      EXPECT_EQ(result.code, code) << command << "\n" << result.err;
      EXPECT_THAT(result.err, HasSubstr(message)) << command;
      EXPECT_FALSE(fs::exists(own_ / "out.jsonl"));
      fs::remove_all(own_ / "run");
    }
  }
  static std::string tiny_data() { return "--data.train " + scenes() + "/train --train.steps 1 --data.workers 0"; }
};

TEST_F(Pretrained, AHubIdGetsTheCommandThatFetchesIt) {
  expect_refused(2, "\n  hf download google/vit-base-patch16-224 --local-dir google/vit-base-patch16-224\n",
                 "google/vit-base-patch16-224");
}

TEST_F(Pretrained, PickledWeightsGetTheCommandThatConvertsThem) {
  fs::rename(weights(), folder() / "pytorch_model.bin");
  expect_refused(3, "\n  python3 launch/to_safetensors.py " + folder().string() + "\n", folder().string());
}

TEST_F(Pretrained, ADamagedFileIsNamed) {
  std::string good = read_bytes(weights());
  write_bytes(weights(), good.substr(0, good.size() - 1));
  expect_refused(3, "model.safetensors: the safetensors header is damaged", folder().string());
  write_bytes(weights(), "");
  expect_refused(3, "model.safetensors: expected a safetensors file, found 0 bytes", folder().string());
}

TEST_F(Pretrained, AnotherArchitectureIsNamed) {
  write_bytes(folder() / "config.json", R"({"model_type": "clip"})");
  expect_refused(3, R"(expected model_type = "vit", "deit" or "bridgetower", found "clip")", folder().string());
}

// Training makes the classifier anew; predictions of a random one would be nonsense.
TEST_F(Pretrained, PredictionNeedsATrainedClassifier) {
  std::string config = read_bytes(folder() / "config.json");
  auto json = nlohmann::json::parse(config);
  json["id2label"] = {{"0", "a"}, {"1", "b"}};
  write_bytes(folder() / "config.json", json.dump());
  std::string out = (own_ / "out.jsonl").string();
  Result predicted = ranks(2, "predict " + folder().string() + " " + scenes() + "/eval --predict.output " + out);
  EXPECT_EQ(predicted.code, 3) << predicted.err;
  EXPECT_THAT(predicted.err, AllOf(HasSubstr("expected the weights of classifier as its config.json describes them"),
                                   HasSubstr("train them first")));
  Result trained = ranks(2, "train " + tiny_data() + " --model.pretrained " + folder().string() + " --run.output " +
                                (own_ / "run").string());
  EXPECT_EQ(trained.code, 0) << trained.err;
  EXPECT_THAT(trained.err,
              HasSubstr("classifier is initialised anew (classifier.weight: expected [12, 32], found [5, 32])"));
}

}  // namespace
}  // namespace viaduct::test
