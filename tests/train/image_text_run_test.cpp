// Whole runs of a tiny BridgeTower: what ranks, workers, interruptions, recomputation and frozen towers must not change.
#include <gmock/gmock.h>

#include "tests/models/tensors.hpp"
#include "tests/train/tiny_bridgetower.hpp"

namespace viaduct::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const Settings kSum = {{"task.name", "itm:1, mlm:1, itc:0.5"}};
const Settings kDropout = {{"model.text_config.hidden_dropout_prob", "0.1"},
                           {"model.text_config.attention_probs_dropout_prob", "0.1"},
                           {"train.batch_size", "7"},
                           {"train.warmup", "3"},
                           {"train.lr", "1e-3"},
                           {"run.checkpoint_every", "3"}};
Settings task(const char* name) { return {{"task.name", name}}; }

class ImageTextRun : public Runs {
 protected:
  ImageTextRun() : Runs(tiny_bridgetower()) {}
  // A model folder whose weights no bf16 number equals.
  std::string pretrained() {
    return (train("first", 1, kSum + Settings{{"train.steps", "2"}, {"train.lr", "1e-3"}}) / "model").string();
  }
};

TEST_F(ImageTextRun, TheNumberOfRanksDoesNotChangeTheLosses) {
  const Settings global = kSum + Settings{{"task.negatives", "global"}};
  for (const Settings& name : {task("itm"), task("mlm"), global}) {
    SCOPED_TRACE(name[0].second);
    auto run = [&](int ranks, const char* batch, const char* passes) {
      std::string folder = name[0].second + std::to_string(ranks) + batch + passes;
      return steps(train(folder, ranks, name + Settings{{"train.batch_size", batch}, {"train.accumulate", passes}}));
    };
    auto one = run(1, "8", "1");
    ASSERT_EQ(12u, one.size());
    expect_same_losses(one, run(2, "4", "1"), 1e-6);
    expect_same_losses(one, run(4, "2", "1"), 1e-6);
    // Negatives of itc are those of a pass.
    if (name.size() == 1) expect_same_losses(one, run(2, "2", "2"), 1e-6);
  }
}

// The optimizer divided among ranks or not: shared blocks, several losses, frozen towers, fp32 masters beside bf16.
TEST_F(ImageTextRun, ADividedOptimizerGivesTheSameWeights) {
  const std::string folder = pretrained();
  for (const char* precision : {"fp32", "bf16"})
    for (const char* freeze : {"", "vision"}) {
      auto run = [&](const char* strategy) {
        return weights(train(fmt::format("{}-{}-{}", strategy, precision, freeze), 2,
                             kSum + Settings{{"model.pretrained", folder},
                                             {"train.precision", precision},
                                             {"task.freeze", freeze},
                                             {"train.lr", "1e-3"},
                                             {"train.steps", "4"},
                                             {"train.batch_size", "4"},
                                             {"parallel.bucket_mb", "0.02"},
                                             {"parallel.strategy", strategy}}));
      };
      EXPECT_TRUE(run("ddp") == run("zero1")) << precision << ", frozen: " << freeze;
    }
}

// 96 pictures in steps of 35: the last of an epoch has 26, and four of five ranks hold all of them.
TEST_F(ImageTextRun, AShortLastBatchIsExact) {
  const Settings global = kSum + Settings{{"task.negatives", "global"}, {"train.steps", "4"}};
  auto one = steps(train("one", 1, global + Settings{{"train.batch_size", "35"}}));
  ASSERT_EQ(96, int(one[2]["samples"]));
  auto five = steps(train("five", 5, global + Settings{{"train.batch_size", "7"}, {"data.workers", "2"}}));
  expect_same_losses(one, five, 1e-6);
}

TEST_F(ImageTextRun, TheLoggedLossIsTheWeightedSumOfMeans) {
  auto losses = [&](const char* name) {
    return steps(train(name, 2, task(name) + Settings{{"train.lr", "0"}, {"train.steps", "4"}}));
  };
  auto sum = losses("itm:1, mlm:2, itc:0.5"), itm = losses("itm"), mlm = losses("mlm"), itc = losses("itc");
  ASSERT_EQ(sum.size(), 4u);
  for (size_t i = 0; i < sum.size(); ++i) {
    double expected = double(itm[i]["loss"]) + 2 * double(mlm[i]["loss"]) + 0.5 * double(itc[i]["loss"]);
    EXPECT_NEAR(double(sum[i]["loss"]), expected, 2e-6 * expected) << "step " << i;
  }
}

TEST_F(ImageTextRun, AResumedRunIsTheUninterruptedRun) {
  const Settings bf16 = {{"train.precision", "bf16"}}, hard = {{"task.itm_negatives", "hard"}};
  for (const Settings& what : {task("itm"), kSum + hard, task("itm") + bf16}) {
    const Settings settings = what + kDropout;
    std::string name = std::to_string(what.size()) + what[0].second + what.back().second;
    Path whole = train("whole-" + name, 2, settings);
    EXPECT_THROW(train(name, 2, settings + Settings{{"fault.kind", "throw"}, {"fault.rank", "1"}, {"fault.step", "8"}}),
                 Error);
    Path resumed = train(name, 2, settings + Settings{{"run.resume", "auto"}, {"data.workers", "2"}});
    EXPECT_TRUE(weights(whole) == weights(resumed)) << "final weights differ, " << name;
    auto a = steps(whole), b = steps(resumed);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i]["loss"], b[i]["loss"]) << "step " << i;
  }
}

TEST_F(ImageTextRun, NeitherWorkersNorRecomputationChangeABit) {
  for (const Settings& what : {task("itm"), kSum + Settings{{"task.negatives", "global"}}}) {
    const Settings settings = what + kDropout + Settings{{"train.steps", "6"}};
    Path plain = train("plain-" + what[0].second, 2, settings);
    Path workers = train("workers-" + what[0].second, 2, settings + Settings{{"data.workers", "2"}});
    Path again = train("again-" + what[0].second, 2, settings + Settings{{"train.recompute", "true"}});
    EXPECT_TRUE(weights(plain) == weights(workers)) << "workers: 2";
    EXPECT_TRUE(weights(plain) == weights(again)) << "recompute";
  }
}

bool bits_equal(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST_F(ImageTextRun, AFrozenTowerComesOutAsItWentIn) {
  const std::string folder = pretrained();
  Tensors before{Path(folder)};
  for (const char* precision : {"fp32", "bf16"}) {
    const Settings settings = kSum + Settings{{"model.pretrained", folder},
                                              {"data.tokenizer", ""},  // that of the folder
                                              {"task.freeze", "text, vision"},
                                              {"train.precision", precision},
                                              {"train.lr", "1e-3"},
                                              {"run.checkpoint_every", "2"},
                                              {"train.steps", "4"}};
    std::string name = std::string("frozen-") + precision;
    EXPECT_THROW(train(name, 2, settings + Settings{{"fault.kind", "throw"}, {"fault.step", "3"}}), Error);
    Path run = train(name, 2, settings + Settings{{"run.resume", "auto"}});  // what is frozen survives a resume too
    EXPECT_TRUE(weights(run) == weights(train(name + "-whole", 2, settings))) << precision;
    Tensors after(run / "model");
    ASSERT_EQ(before.items.size(), after.items.size());
    size_t frozen = 0, moved = 0;
    for (const auto& item : before.items) {
      bool same = bits_equal(before.of(item.name), after.of(item.name));
      bool keeps =
          item.name.find(".text_model.") != item.name.npos || item.name.find(".vision_model.") != item.name.npos;
      EXPECT_TRUE(same || !keeps) << item.name << ", " << precision;
      (keeps ? frozen : moved) += keeps || !same;
    }
    EXPECT_GT(frozen, 60u);
    EXPECT_GT(moved, 60u);

    SafetensorsFile saved(run / "checkpoints/step-00000004/weights.safetensors");
    const std::string words = "bridgetower.text_model.embeddings.word_embeddings.weight";
    std::vector<float> kept(before.of(words).size());
    saved.read(saved.get(words), kept.data());
    EXPECT_TRUE(bits_equal(kept, before.of(words))) << "the checkpoint, " << precision;
    SafetensorsFile moments(run / "checkpoints/step-00000004/adam_m.safetensors");
    for (const auto& tensor : moments.tensors())
      EXPECT_EQ(tensor.name.find("bridgetower.text_model."), std::string::npos) << tensor.name;
  }
}

TEST_F(ImageTextRun, AResumeMaySpellTheTaskOtherwise) {
  const Settings settings = kSum + Settings{{"train.batch_size", "4"}, {"task.freeze", "text,vision"}};
  train("first", 1, settings + Settings{{"train.steps", "2"}});
  const Settings other =
      settings + Settings{{"train.steps", "2"}, {"task.freeze", "vision, text"}, {"run.resume", "auto"}};
  EXPECT_NO_THROW(train("first", 1, other + task("itm, mlm:1.0, itc:0.5")));
}

// Before the first step, not after an epoch.
TEST_F(ImageTextRun, WhatIsWrongWithTheEvaluationDataIsSaidAtOnce) {
  write_bytes(runs_ / "one.jsonl", R"({"image": "a.jpg", "text": "a red circle"})"
                                   "\n");
  Path folder = runs_ / "run";
  std::string message = message_of(
      [&] {
        train("run", 1, task("itm") + Settings{{"data.eval", (runs_ / "one.jsonl").string()}});
      },
      Exit::input);
  EXPECT_THAT(message, HasSubstr("only one image"));
  EXPECT_EQ(read_bytes(folder / "metrics.jsonl"), "");
}

TEST_F(ImageTextRun, AResumeWithAnotherTaskOrOtherTextsIsRefused) {
  const Settings settings = kSum + Settings{{"train.steps", "2"}, {"train.batch_size", "4"}};
  train("first", 2, settings);
  auto says = [&](const Settings& change) { return refused("first", settings, change); };
  EXPECT_THAT(says(task("itm:1, mlm:1, itc:1")),
              HasSubstr("task.name = itm:1, itc:0.5, mlm:1 and would go on with itm:1, itc:1, mlm:1"));
  EXPECT_THAT(says({{"train.batch_size", "2"}, {"train.accumulate", "2"}}),
              HasSubstr("4 pairs to tell apart in a pass"));
  EXPECT_THAT(says({{"data.padding", "max_length"}}), HasSubstr("data.padding = longest"));
  EXPECT_THAT(says({{"task.freeze", "text"}}), HasSubstr("task.freeze =  and would go on with text"));
  EXPECT_THAT(says({{"task.negatives", "global"}}), HasSubstr("task.negatives = local and would go on with global"));
  EXPECT_THAT(says({{"task.itm_negatives", "hard"}}),
              HasSubstr("task.itm_negatives = random and would go on with hard"));
  EXPECT_THAT(says({{"data.max_text_length", "9"}}), HasSubstr("texts of up to 24 tokens and would go on with 9"));
  EXPECT_THAT(says({{"data.image_pipeline", "torchvision"}}), HasSubstr("data.image_pipeline = hf"));

  fs::copy(scenes() / "tokenizer", runs_ / "tokenizer", fs::copy_options::recursive);
  auto vocabulary = nlohmann::json::parse(read_bytes(runs_ / "tokenizer/vocab.json"));
  std::swap(vocabulary["red"], vocabulary["blue"]);
  write_bytes(runs_ / "tokenizer/vocab.json", vocabulary.dump());
  EXPECT_THAT(says({{"data.tokenizer", (runs_ / "tokenizer").string()}}), HasSubstr("another tokenizer: vocab.json"));

  fs::create_directories(runs_ / "captions");
  for (const char* name : {"train", "eval"}) fs::create_directory_symlink(scenes() / name, runs_ / "captions" / name);
  std::string captions = read_bytes(scenes() / "captions.jsonl");
  write_bytes(runs_ / "captions/captions.jsonl", captions);
  train("second", 2, settings + Settings{{"data.train", (runs_ / "captions").string()}});
  captions.replace(captions.find("large"), 5, "small");
  write_bytes(runs_ / "captions/captions.jsonl", captions);
  EXPECT_THAT(refused("second", settings, {{"data.train", (runs_ / "captions").string()}}), HasSubstr("data = "));
}

// What evaluation says of each loss, whatever the number of ranks.
TEST_F(ImageTextRun, EvaluationCountsEverySampleOnce) {
  const Settings eval = {{"data.eval", (scenes() / "captions-eval.jsonl").string()}, {"train.steps", "2"}};
  for (const Settings& what : {task("itc"), kSum}) {
    auto run = [&](int ranks, const char* batch) {
      // Local negatives make the loss of itc depend on the batch, in evaluation too.
      auto all = evaluations(train(what[0].second + std::to_string(ranks), ranks,
                                   what + eval + Settings{{"train.batch_size", batch}, {"train.lr", "0"}}));
      EXPECT_EQ(all.size(), 1u);
      return all.at(0);
    };
    auto one = run(1, "6"), three = run(3, "2");
    std::vector<std::string> same = {"eval_text_to_image_recall@1",  "eval_text_to_image_recall@5",
                                     "eval_text_to_image_recall@10", "eval_image_to_text_recall@1",
                                     "eval_image_to_text_recall@5",  "eval_image_to_text_recall@10"};
    if (what[0].second == "itc") {
      for (const std::string& name : same) EXPECT_LT(double(one.at(name)), 1) << name << " tells nothing";
      EXPECT_TRUE(one.contains("eval_loss"));
      EXPECT_FALSE(one.contains("eval_itm_loss"));
    } else {
      for (const char* name : {"eval_itm_loss", "eval_itm_accuracy", "eval_mlm_loss", "eval_mlm_accuracy"})
        EXPECT_NEAR(double(one.at(name)), double(three.at(name)), 1e-6 * double(one.at(name))) << name;
      EXPECT_EQ(one.at("eval_accuracy"), one.at("eval_itm_accuracy"));
      EXPECT_NEAR(double(one["eval_loss"]),
                  double(one["eval_itm_loss"]) + double(one["eval_mlm_loss"]) + 0.5 * double(one["eval_itc_loss"]),
                  1e-6 * double(one["eval_loss"]));
    }
    for (const std::string& name : same) EXPECT_EQ(one.at(name), three.at(name)) << name;
  }
}

}  // namespace
}  // namespace viaduct::test
