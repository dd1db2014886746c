#include "train/config.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/base/check.hpp"
#include "data/scenes.hpp"
#include "train/nearest.hpp"

namespace viaduct {
namespace {

std::string write_file(const std::string& name, const std::string& text) {
  auto path = std::filesystem::temp_directory_path() / fmt::format("{}.{}", name, ::getpid());
  std::ofstream(path) << text;
  return path;
}

// The message of the configuration error that `body` throws.
template <class F>
std::string refusal(F body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Exit::config);
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}
std::string refusal_of(const std::string& key, const std::string& value) {
  return refusal([&] {
    Config config;
    set(config, key, value, "command line");
    validate(config);
  });
}

TEST(Config, DefaultsAreThoseOfTheHuggingFaceTrainer) {
  Config c;
  EXPECT_EQ(c.train.lr, 5e-5);
  EXPECT_EQ(c.train.clip_norm, 1.0);
  EXPECT_EQ(c.train.schedule, "linear");
  EXPECT_EQ(c.train.warmup, 0);
  EXPECT_EQ(c.train.batch_size, 8);
  EXPECT_EQ(c.train.epochs, 3);
  EXPECT_EQ(c.train.seed, 42);
  EXPECT_EQ(c.train.weight_decay, 0);
  EXPECT_EQ(c.train.adam_beta1, 0.9);
  EXPECT_EQ(c.train.adam_beta2, 0.999);
  EXPECT_EQ(c.train.adam_epsilon, 1e-8);
  EXPECT_NO_THROW(validate(c));
}

TEST(Config, ScenesHoldOneOfEachClassForEvaluation) {
  const int64_t fewest = scene_class_count() * SceneOptions().eval_every;
  Config c;
  set(c, "scenes.count", std::to_string(fewest), "command line");
  EXPECT_NO_THROW(validate(c));
  std::string message = refusal_of("scenes.count", std::to_string(fewest - 1));
  EXPECT_NE(message.find(fmt::format("from {}", fewest)), std::string::npos) << message;
}

TEST(Config, FileThenCommandLine) {
  auto path =
      write_file("precedence.cfg", "# a comment\n[train]\nlr = 1e-3 # fast\nsteps=7\n[model]\nhidden_size = 64\n");
  Config c;
  read_config_file(c, path);
  EXPECT_EQ(c.train.lr, 1e-3);
  EXPECT_EQ(c.train.steps, 7);
  EXPECT_EQ(c.origin("train.lr"), path + ":3");
  set(c, "train.lr", "0.5", "command line");
  EXPECT_EQ(c.train.lr, 0.5);
  EXPECT_EQ(c.origin("train.lr"), "command line");
  EXPECT_EQ(c.origin("train.warmup"), "default");

  ModelConfig model;
  apply_overrides(c, model);
  EXPECT_EQ(vit(model).hidden_size, 64);
  EXPECT_EQ(vit(model).num_hidden_layers, 12);
}

TEST(Config, ModelFieldsAreThoseOfTheArchitecture) {
  auto path = write_file("model.cfg", "[model]\nhidden_size = 64\ntext_config.vocab_size = 99\n");
  Config c;
  read_config_file(c, path);
  set(c, "model.vision_config.image_size", "32", "command line");
  ModelConfig model = BridgeTowerConfig();
  apply_overrides(c, model);
  EXPECT_EQ(bridgetower(model).hidden_size, 64);
  EXPECT_EQ(bridgetower(model).text.vocab_size, 99);
  EXPECT_EQ(bridgetower(model).vision.image_size, 32);
  EXPECT_EQ(bridgetower(model).text.hidden_size, 768);
  model = VitConfig();
  EXPECT_EQ(refusal([&] { apply_overrides(c, model); }),
            "model.text_config.vocab_size = '99' (" + path + ":3): a vit has no such field; bridgetower has");
  EXPECT_NE(refusal_of("model.text_config.vocab_size", "many").find("expected a whole number"), std::string::npos);
  EXPECT_NE(refusal_of("model.text_config.vocab_sise", "9").find("did you mean model.text_config.vocab_size?"),
            std::string::npos);
}

TEST(Config, WordsStandForNumbers) {
  Config c;
  set(c, "data.workers", "3", "");
  EXPECT_EQ(c.data.workers, 3);
  set(c, "data.workers", "auto", "");
  EXPECT_EQ(c.data.workers, -1);
  set(c, "train.eval_every", "never", "");
  EXPECT_EQ(c.train.eval_every, -1);
  EXPECT_EQ(value_text(c, "train.eval_every"), "never");
  set(c, "stop.stopping_threshold", "0.25", "");
  EXPECT_EQ(c.stop.stopping_threshold, 0.25);
  set(c, "stop.stopping_threshold", "none", "");
  EXPECT_EQ(value_text(c, "stop.stopping_threshold"), "none");
}

TEST(Config, EffectiveConfigReadsBack) {
  Config c;
  set(c, "train.lr", "0.1", "command line");  // no sum of powers of two: must come back to the bit
  set(c, "train.steps", "epochs", "command line");
  set(c, "data.train", "my photographs/2024", "command line");
  set(c, "data.shuffle", "false", "command line");
  set(c, "model.layer_norm_eps", "1e-12", "command line");
  auto text = effective_config(c);
  EXPECT_NE(text.find("# command line"), std::string::npos);
  EXPECT_NE(text.find("# default"), std::string::npos);

  auto path = write_file("effective.cfg", text);
  Config back;
  read_config_file(back, path);
  EXPECT_EQ(back.model.overrides, c.model.overrides);
  for (const std::string& key : config_keys()) EXPECT_EQ(value_text(back, key), value_text(c, key)) << key;
  EXPECT_EQ(back.train.lr, 0.1);
  EXPECT_EQ(back.data.train, "my photographs/2024");
}

TEST(Config, EveryKeyIsInTheHelpOnce) {
  auto help = config_help({"model", "task", "data", "train", "parallel", "fault", "run", "predict", "plan", "report",
                           "scenes", "bench", "device", "stop", "augment", "average"});
  Config c;
  c.sections([&](const std::string& section, auto& fields) {
    fields.fields([&](const std::string& name, auto&, const Rule&, const std::string& text) {
      EXPECT_NE(help.find("--" + section + "." + name + " "), std::string::npos) << name;
      EXPECT_NE(help.find(text), std::string::npos) << name;
    });
  });
}

TEST(Config, UnknownKeysNameTheNearestAndTheLine) {
  auto path = write_file("typo.cfg", "[train]\nbatch_size = 4\n\nlearnig_rate = 1\n");
  auto message = refusal([&] {
    Config c;
    read_config_file(c, path);
  });
  EXPECT_EQ(message, "unknown key train.learnig_rate (" + path + ":4); did you mean train.lr?");
  EXPECT_EQ(refusal_of("nonsense.qqqq", "4"),
            "unknown key nonsense.qqqq (command line); viaduct train --help lists the keys");
  EXPECT_EQ(refusal_of("train.batchsize", "4"),
            "unknown key train.batchsize (command line); did you mean train.batch_size?");
  EXPECT_EQ(refusal_of("run.batch_size", "4"),
            "unknown key run.batch_size (command line); did you mean train.batch_size?");
  EXPECT_EQ(refusal_of("model.hiden_size", "4"),
            "unknown key model.hiden_size (command line); did you mean model.hidden_size?");
  EXPECT_EQ(refusal_of("train.learning_rate", "1"),
            "unknown key train.learning_rate (command line); did you mean train.lr?");
}

TEST(Config, RefusesBadValues) {
  const std::vector<std::array<std::string, 3>> cases = {
      {"train.lr", "fast", "train.lr = 'fast' (command line): expected a number of at least 0"},
      {"train.lr", "-1", "expected a number of at least 0"},
      {"train.lr", "nan", "expected a number"},
      {"train.lr", "inf", "expected a number"},
      {"train.lr", "1e-3x", "expected a number"},
      {"train.lr", "", "expected a number"},
      {"train.batch_size", "0", "expected a whole number from 1 to below 1000000"},
      {"train.batch_size", "2.5", "expected a whole number"},
      {"train.batch_size", "99999999999999999999", "expected a whole number"},
      {"train.epochs", "0", "expected a number above 0 and below 1000000000"},
      {"train.epochs", "1e300", "expected a number above 0 and below 1000000000"},
      {"train.warmup", "1e300", "expected a number from 0 to below 1000000000"},
      {"train.steps", "1000000000", "expected a whole number from 1 to below 1000000000 or epochs"},
      {"train.accumulate", "9000000000", "expected a whole number from 1 to below 1000000"},
      {"device.threads", "4294967296", "expected a whole number from 1 to below 10000 or auto"},
      {"data.workers", "4294967297", "expected a whole number from 0 to below 10000 or auto"},
      {"train.adam_beta1", "1", "expected a number from 0 to below 1"},
      {"train.precision", "fp16", "expected one of fp32, bf16"},
      {"train.schedule", "Linear", "expected one of linear, cosine, constant"},
      {"train.recompute", "yes", "expected true or false"},
      {"train.warmup", "10.5", "expected whole steps, or a fraction of all steps below 1"},
      {"data.workers", "many", "expected a whole number from 0 to below 10000 or auto"},
      {"data.eval", "1.5", "expected a fraction above 0 and below 1, or a folder"},
      {"data.train", "a#b", "neither # nor a line break"},
      {"run.best", "eval_loss", "needs data.eval"},
      {"run.resume", "", "expected none, auto or a checkpoint folder"},
      {"run.tensorboard", "maybe", "expected true or false"},
      {"plan.network_gb_per_second", "-1", "expected a number of at least 0"},
      {"model.hidden_size", "wide", "model.hidden_size = 'wide' (command line): expected a whole number"},
      {"model.qkv_bias", "1", "expected true or false"},
      {"parallel.timeout_seconds", "0", "expected a number above 0"},
      {"train.nonfinite", "hide", "expected one of stop, skip"},
      {"train.batch_size", "large", "expected a whole number from 1 to below 1000000 or auto"},
      {"train.max_seconds", "-1", "expected a number of at least 0"},
      {"train.samples", "0", "or epochs"},
      {"train.layer_decay", "1.5", "expected a number above 0 and at most 1"},
      {"train.lr_scaling", "square", "expected one of none, linear, sqrt"},
      {"stop.monitor", "loss", "expected one of none, eval_loss"},
      {"stop.monitor", "eval_loss", "needs data.eval"},
      {"stop.mode", "least", "expected one of auto, min, max"},
      {"stop.min_delta", "-0.1", "expected a number of at least 0"},
      {"stop.patience", "-1", "expected a whole number of at least 0"},
      {"stop.stopping_threshold", "low", "expected a number or none"},
      {"run.keep_last", "0", "or all"},
      {"run.keep_best", "0", "expected a whole number from 1"},
      {"augment.mixup", "-1", "expected a number from 0"},
      {"augment.random_erasing", "1.1", "expected a number from 0 to 1"},
      {"augment.mix_probability", "0", "expected a number above 0 and at most 1"},
      {"augment.label_smoothing", "1", "expected a number from 0 to below 1"},
      {"average.decay", "1", "expected a number from 0 to below 1"},
  };
  for (const auto& [key, value, expected] : cases)
    EXPECT_NE(refusal_of(key, value).find(expected), std::string::npos) << key << " = " << value;
}

TEST(Config, RefusesDamagedFiles) {
  auto message_of = [](const std::string& text) {
    auto path = write_file("damaged.cfg", text);
    return refusal([&] {
      Config c;
      read_config_file(c, path);
    });
  };
  EXPECT_NE(message_of("[train]\nlr\n").find("expected [section] lines"), std::string::npos);
  EXPECT_NE(message_of("[train]\nlr = 1\nlr = 2\n").find("train.lr is given twice"), std::string::npos);
  EXPECT_NE(message_of("lr = 1\n").find("unknown key lr"), std::string::npos);
  EXPECT_NE(refusal([] {
              Config c;
              read_config_file(c, "/nowhere/at/all.cfg");
            }).find("cannot read the config file /nowhere/at/all.cfg"),
            std::string::npos);
}

TEST(Nearest, CountsSwapsAsOne) {
  EXPECT_EQ(edit_distance("trian", "train"), 1);
  EXPECT_EQ(edit_distance("eval", "evaluate"), 4);
  EXPECT_EQ(nearest("trian", {"train", "eval"}, 2), "train");
  EXPECT_EQ(nearest("zzzzzz", {"train", "eval"}, 2), "");
}

}  // namespace
}  // namespace viaduct
