// The moving average of the weights, and the rates of the optimizer's parts.
#include "models/safetensors.hpp"
#include "tests/train/runs.hpp"
#include "train/batch_choice.hpp"
#include "train/learning_rate.hpp"

namespace viaduct::test {
namespace {

using Named = std::map<std::string, std::vector<float>>;
Named tensors_of(const Path& file) {
  SafetensorsFile tensors(file);
  Named all;
  for (const auto& t : tensors.tensors()) {
    int64_t n = 1;
    for (int64_t side : t.shape) n *= side;
    tensors.read(t, {0, n}, all.emplace(t.name, size_t(n)).first->second.data());
  }
  return all;
}

class Average : public Runs {
 protected:
  Average()
      : Runs({{"data.train", (scenes() / "train").string()},
              {"data.eval", (scenes() / "eval").string()},
              {"model.hidden_size", "96"},
              {"model.num_hidden_layers", "2"},
              {"model.num_attention_heads", "2"},
              {"model.intermediate_size", "128"},
              {"model.image_size", "24"},
              {"model.patch_size", "8"},
              {"train.batch_size", "4"},
              {"train.lr", "1e-2"},
              {"train.steps", "6"},
              {"run.checkpoint_every", "1"},
              {"run.keep_last", "all"},
              {"average.decay", "0.75"}}) {}
  Path checkpoint(const Path& folder, int64_t step) { return folder / fmt::format("checkpoints/step-{:08}", step); }
};

// torch.optim.swa_utils.AveragedModel: the first update copies, then average.lerp_(weights, 1 - decay).
TEST_F(Average, FollowsTheWeights) {
  for (const char* precision : {"fp32", "bf16"}) {
    Path folder = train(precision, 1, {{"train.precision", precision}});
    Named average = tensors_of(checkpoint(folder, 1) / "weights.safetensors");
    for (int64_t step = 2; step <= 6; ++step)
      for (auto& [name, values] : tensors_of(checkpoint(folder, step) / "weights.safetensors"))
        for (size_t i = 0; i < values.size(); ++i) {
          float& a = average.at(name)[i];
          a = std::fma(0.25f, values[i] - a, a);
        }
    EXPECT_TRUE(average == tensors_of(checkpoint(folder, 6) / "average.safetensors")) << precision;
  }
}

TEST_F(Average, IsTheSameByEveryStrategyAndWhenResumed) {
  for (const char* precision : {"fp32", "bf16"}) {
    auto name = [&](const char* what) { return fmt::format("{}-{}", what, precision); };
    const Settings settings = {
        {"train.precision", precision}, {"train.eval_every", "2"}, {"run.checkpoint_every", "2"}};
    Path ddp = train(name("ddp"), 2, settings);
    const std::string expected = read_file(ddp / "average/model.safetensors", 64 << 20);
    EXPECT_FALSE(expected == weights(ddp));
    for (const char* strategy : {"zero1", "zero2"}) {
      const Settings mine = settings + Settings{{"parallel.strategy", strategy}};
      Path whole = train(name(strategy), 2, mine);
      EXPECT_TRUE(expected == read_file(whole / "average/model.safetensors", 64 << 20)) << strategy;
      EXPECT_TRUE(weights(ddp) == weights(whole)) << strategy << ": an evaluation leaves the weights as they were";
      const std::string cut = name(strategy) + "-cut";
      EXPECT_THROW(train(cut, 2, mine + Settings{{"fault.kind", "throw"}, {"fault.step", "3"}}), Error);
      Path resumed = train(cut, 2, mine + Settings{{"run.resume", "auto"}});
      EXPECT_TRUE(expected == read_file(resumed / "average/model.safetensors", 64 << 20)) << strategy;
      EXPECT_TRUE(weights(ddp) == weights(resumed)) << strategy;
    }
  }
}

TEST_F(Average, IsWhatIsEvaluatedWhereThatIsWanted) {
  auto loss = [&](const std::string& name, const Settings& settings) {
    return double(evaluations(train(name, 2, settings)).back()["eval_loss"]);
  };
  const Settings often = {{"train.eval_every", "2"}};
  const double averaged = loss("averaged", often);
  const double plain = loss("plain", often + Settings{{"average.evaluate", "false"}});
  EXPECT_NE(averaged, plain);
  EXPECT_TRUE(weights(runs_ / "averaged") == weights(runs_ / "plain")) << "an evaluation leaves them as they were";
  auto of_model = [&](const std::string& name) {  // without a learning rate
    return loss("of-" + name, {{"model.pretrained", (runs_ / name).string()},
                               {"train.lr", "0"},
                               {"train.steps", "1"},
                               {"average.decay", "0"}});
  };
  EXPECT_EQ(averaged, of_model("averaged/average"));
  EXPECT_EQ(plain, of_model("plain/model"));
}

TEST_F(Average, AResumeWithoutItIsRefused) {
  train("first", 2, {{"train.steps", "2"}});
  EXPECT_NE(refused("first", {{"train.steps", "2"}}, {{"average.decay", "0"}}).find("average.decay = 0.75"),
            std::string::npos);
}

TEST_F(Average, PlannedMemoryHasIt) {
  run_ranks(2, [&](Communicator& comm) {
    for (const char* strategy : {"ddp", "zero1"}) {
      Config config = config_of(model_ + Settings{{"data.workers", "0"}, {"parallel.strategy", strategy}});
      Engine with(resolve_model(config, {"a", "b"}), config, true, comm);
      EXPECT_EQ(with.plan().optimizer, with.optimizer().bytes());
      set(config, "average.decay", "0", "test");
      Engine without(resolve_model(config, {"a", "b"}), config, true, comm);
      EXPECT_EQ(with.plan().optimizer, without.plan().optimizer / 2 * 3) << strategy;
    }
  });
}

// BEiT's get_num_layer_for_vit and LayerDecayValueAssigner, of a model of two layers.
TEST(LayerDecay, IsBeitsRule) {
  ParameterStore store;
  store.block("all", [&] {
    for (const char* name : {"vit.embeddings.cls_token", "vit.embeddings.patch_embeddings.projection.weight",
                             "vit.encoder.layer.0.attention.attention.qkv.weight",
                             "vit.encoder.layer.1.output.dense.bias", "vit.layernorm.weight", "classifier.weight"})
      store.add(name, {1});
  });
  const auto rate = layer_rates(store, 0.5);
  const std::map<std::string, double> expected = {
      {"vit.embeddings.cls_token", 0.125},
      {"vit.embeddings.patch_embeddings.projection.weight", 0.125},
      {"vit.encoder.layer.0.attention.attention.qkv.weight", 0.25},
      {"vit.encoder.layer.1.output.dense.bias", 0.5},
      {"vit.layernorm.weight", 1},
      {"classifier.weight", 1},
      {"bridgetower.text_model.embeddings.word_embeddings.weight", 0.125},
      {"bridgetower.vision_model.visual.ln_pre.weight", 0.125},
      {"bridgetower.vision_model.visual.transformer.resblocks.1.mlp.c_fc.weight", 0.5},
      {"bridgetower.token_type_embeddings.weight", 1},
      {"bridgetower.cross_modal_text_layers.0.output.dense.weight", 1}};
  for (const Parameter& p : store.parameters()) EXPECT_EQ(rate(p), expected.at(p.name)) << p.name;
  EXPECT_FALSE(layer_rates(store, 1)) << "nothing to do";
}

// The first step of AdamW is as long as its rate (but for epsilon): it shows the rate of every parameter.
TEST_F(Average, LayerDecayReachesTheUpdate) {
  const Settings settings = {
      {"train.steps", "1"}, {"train.clip_norm", "0"}, {"train.adam_epsilon", "1e-30"}, {"train.schedule", "constant"}};
  Named start = tensors_of(train("start", 1, settings + Settings{{"train.lr", "0"}}) / "model/model.safetensors");
  for (const char* strategy : {"ddp", "zero1"}) {
    Path folder = train(
        strategy, 2,
        settings + Settings{{"train.batch_size", "2"}, {"parallel.strategy", strategy}, {"train.layer_decay", "0.5"}});
    Named end = tensors_of(folder / "model/model.safetensors");
    auto moved = [&](const std::string& name) { return std::abs(end.at(name)[1] - start.at(name)[1]); };
    EXPECT_NEAR(moved("classifier.bias"), 1e-2, 1e-6) << strategy;
    EXPECT_NEAR(moved("vit.encoder.layer.1.output.dense.bias"), 5e-3, 1e-6) << strategy;
    EXPECT_NEAR(moved("vit.encoder.layer.0.output.dense.bias"), 2.5e-3, 1e-6) << strategy;
    EXPECT_NEAR(moved("vit.embeddings.cls_token"), 1.25e-3, 1e-6) << strategy;
  }
}

TEST_F(Average, TheLearningRateIsScaledByTheRanksAtTheStart) {
  auto rate = [&](const std::string& name, int ranks, const Settings& settings) {
    return double(steps(train(name, ranks, settings + Settings{{"train.schedule", "constant"}})).back()["lr"]);
  };
  EXPECT_EQ(rate("none", 2, {}), 1e-2);
  EXPECT_EQ(rate("sqrt", 4, {{"train.lr_scaling", "sqrt"}}), 2e-2);
  const Settings linear = {{"train.lr_scaling", "linear"}, {"train.steps", "6"}};
  EXPECT_EQ(rate("linear", 2, linear), 2e-2);
  EXPECT_THROW(train("cut", 2, linear + Settings{{"fault.kind", "throw"}, {"fault.step", "3"}}), Error);
  EXPECT_EQ(rate("cut", 1, linear + Settings{{"run.resume", "auto"}, {"train.batch_size", "8"}}), 2e-2)
      << "a resume with other ranks and the same global batch is the same training";
}

TEST_F(Average, TheLargestBatchIsThatOfThePlan) {
  Config config = config_of(model_ + Settings{{"train.batch_size", "auto"}, {"data.workers", "0"}});
  const ModelSource source = resolve_model(config, {"a", "b"});
  auto planned = [&](int64_t batch_size) {
    Config with = config;
    with.train.batch_size = batch_size;
    return plan_memory(task_maker(source, with, 2), step_shape(with, source.choice, Device::Kind::cpu, true, 0, 2))
        .total();
  };
  for (int64_t batch_size : {1, 7, 64}) {
    const int64_t bytes = ceil_div(planned(batch_size), 9) * 10;
    EXPECT_EQ(largest_planned_batch(config, source, Device::Kind::cpu, 0, 2, bytes), batch_size);
    EXPECT_EQ(largest_planned_batch(config, source, Device::Kind::cpu, 0, 2, bytes - 40), batch_size - 1);
  }
}

TEST_F(Average, AnAutomaticBatchIsSaidAndKeptOnResume) {
  std::string size, origin;
  auto note = [&](const Config& config) {
    size = value_text(config, "train.batch_size"), origin = config.origin("train.batch_size");
  };
  const Settings settings = {{"train.batch_size", "auto"}, {"train.steps", "2"}, {"average.decay", "0"}};
  train("auto", 2, settings, Exit::ok, note);
  EXPECT_EQ(size, "48") << "half of the 96 images, which fit into any memory";
  EXPECT_EQ(origin, "auto, the data are no more");
  train("auto", 3, settings + Settings{{"run.resume", "auto"}}, Exit::ok, note);
  EXPECT_EQ(size, "32");
  EXPECT_NE(message_of(
                [&] {
                  train("auto", 5, settings + Settings{{"run.resume", "auto"}});
                },
                Exit::config)
                .find("which 5 ranks with train.accumulate = 1 cannot share evenly"),
            std::string::npos);
}

}  // namespace
}  // namespace viaduct::test
