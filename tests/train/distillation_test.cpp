// Whole runs of a tiny student on generated scenes: what it learns, and what must not depend on how.
#include "train/distillation.hpp"
#include "tests/train/runs.hpp"
#include "train/engine.hpp"
#include "train/step_cut.hpp"

namespace viaduct::test {
namespace {

// A teacher is trained once; its students are half as wide.
class Distillation : public Runs {
 protected:
  Distillation() : Runs({{"data.train", (scenes() / "train").string()}}) {}
  void SetUp() override {
    Runs::SetUp();
    static TempFolder folder;
    static const Path trained = [&] {
      Config config = config_of(model_ + Settings{{"model.hidden_size", "48"},
                                                  {"model.num_hidden_layers", "3"},
                                                  {"model.num_attention_heads", "4"},
                                                  {"model.intermediate_size", "64"},
                                                  {"model.hidden_dropout_prob", "0.1"},
                                                  {"model.image_size", "24"},
                                                  {"model.patch_size", "8"},
                                                  {"train.lr", "1e-3"},
                                                  {"train.steps", "20"},
                                                  {"data.workers", "0"},
                                                  {"run.output", folder.path().string()}});
      run_ranks(1, [&](Communicator& comm) { run_training(config, comm); });
      return folder.path();
    }();
    teacher_ = trained;
    student_ = {{"task.name", "distillation"},        {"task.teacher", teacher_.string()},
                {"model.hidden_size", "24"},          {"model.num_attention_heads", "2"},
                {"model.intermediate_size", "32"},    {"model.num_hidden_layers", "2"},
                {"model.hidden_dropout_prob", "0.1"}, {"train.lr", "1e-3"}};
  }
  Path distil(const std::string& name, int ranks, const Settings& settings, Exit expected = Exit::ok) {
    return train(name, ranks, student_ + settings, expected);
  }
  std::string refusal(const Settings& settings) {
    return message_of([&] { distil("refused", 1, settings); }, Exit::config);
  }

  Path teacher_;
  Settings student_;
};

TEST_F(Distillation, TheTeacherStaysAsItIs) {
  const std::string before = weights(teacher_);
  run_ranks(2, [&](Communicator& comm) {
    Config config = settled(config_for("engine", student_));
    Engine engine(resolve_model(config, {}), config, true, comm);
    engine.load_weights(1);
    Teacher& teacher = *engine.teacher();
    EXPECT_FALSE(teacher.model().config().labels.empty());
    const std::string hash = teacher.hash();
    Batch batch = engine.task().blank_batch(Device::cpu(), 3);
    Workspace& work = engine.work();
    work.ctx.sample_keys = batch.keys;
    auto logits = [&] {
      auto scope = work.arena.scope("teacher");
      Tensor t = teacher.predict(work.ctx, batch);
      return std::vector<float>(data<float>(t), data<float>(t) + t.numel());
    };
    const std::vector<float> answers = logits();
    auto sync = make_grad_sync(grad_sync_options(config, engine.source().choice, comm.size()),
                               engine.task().parameters(), comm);
    work.ctx.training = true;  // which the teacher is not: it has dropout
    for (int step = 0; step < 3; ++step) {
      sync->begin(work.ctx, {}, true, true);
      engine.task().train(work.ctx, batch, *sync);
      sync->finish();
    }
    EXPECT_EQ(answers, logits());
    teacher.load(comm, work.stream);
    EXPECT_EQ(hash, teacher.hash());
  });
  distil("student", 2, {});
  EXPECT_TRUE(before == weights(teacher_));
}

// The teacher's own copy gives the same logits, so there is nothing to learn.
TEST_F(Distillation, ACopyOfTheTeacherIsPerfect) {
  Settings copy{{"task.name", "distillation"},
                {"task.teacher", teacher_.string()},
                {"model.pretrained", teacher_.string()},
                {"model.hidden_dropout_prob", "0"},
                {"train.weight_decay", "0"}};
  for (const char* losses : {"mse", "soft", "deit_soft"}) {
    auto found = steps(train(losses, 1, copy + Settings{{"task.losses", losses}, {"train.steps", "2"}}));
    EXPECT_EQ(double(found[0]["loss"]), 0) << losses;
    EXPECT_EQ(double(found[1]["grad_norm"]), 0) << losses;
  }
}

TEST_F(Distillation, ALossIsTheWeightedSumOfItsTerms) {
  auto first = [&](const std::string& losses) {
    return double(steps(distil(losses, 1, {{"task.losses", losses}, {"train.steps", "1"}}))[0]["loss"]);
  };
  const double label = 2 * (first("label:0.5, mse:1e-9")), soft = first("soft"), mse = first("mse"),
               hard = first("deit_hard");
  EXPECT_NEAR(first("label:0.25, soft:0.5, mse:2, deit_hard:0.125"), 0.25 * label + 0.5 * soft + 2 * mse + 0.125 * hard,
              1e-5 * label);
  EXPECT_GT(soft, 0);
}

TEST_F(Distillation, NeitherRanksNorPassesChangeTheLosses) {
  const Settings all{{"task.losses", "label:0.5, soft:0.5, mse:0.1, deit_hard:0.2"}};
  auto one = steps(distil("one", 1, all + Settings{{"train.batch_size", "8"}}));
  for (const char* strategy : {"ddp", "fast_ddp", "zero1", "zero2"}) {
    const Settings by{{"parallel.strategy", strategy}, {"train.batch_size", "2"}};
    expect_same_losses(one, steps(distil(std::string(strategy) + "4", 4, all + by)), 1e-6);
    expect_same_losses(
        one, steps(distil(std::string(strategy) + "2", 2, all + by + Settings{{"train.accumulate", "2"}})), 1e-6);
  }
  const Settings invariant{{"parallel.reduction", "invariant"}, {"train.batch_size", "4"}};
  EXPECT_TRUE(weights(distil("invariant2", 2, all + invariant)) ==
              weights(distil("invariant1", 1, all + invariant + Settings{{"train.batch_size", "8"}})));
}

TEST_F(Distillation, RecomputingChangesNoBit) {
  EXPECT_TRUE(weights(distil("kept", 1, {})) == weights(distil("again", 1, {{"train.recompute", "true"}})));
}

TEST_F(Distillation, AResumedRunIsTheUninterruptedRun) {
  for (const char* precision : {"fp32", "bf16"}) {
    const Settings settings{{"train.precision", precision}, {"run.checkpoint_every", "3"}};
    Path whole = distil(std::string("whole-") + precision, 2, settings);
    const std::string name = std::string("resumed-") + precision;
    EXPECT_THROW(distil(name, 2, settings + Settings{{"fault.kind", "throw"}, {"fault.step", "8"}}), Error);
    EXPECT_TRUE(weights(whole) == weights(distil(name, 2, settings + Settings{{"run.resume", "auto"}}))) << precision;
  }
}

TEST_F(Distillation, AResumeWithOtherLessonsIsRefused) {
  distil("first", 1, {{"train.steps", "2"}});
  auto refused = [&](const Settings& change) {
    return message_of(
        [&] {
          distil("first", 1, Settings{{"train.steps", "2"}, {"run.resume", "auto"}} + change);
        },
        Exit::config);
  };
  EXPECT_NE(refused({{"task.temperature", "2"}}).find("temperature 5 of teacher"), std::string::npos);
  EXPECT_NE(refused({{"task.losses", "mse"}}).find("would go on with mse:1 of teacher"), std::string::npos);
  Path other = train("other", 1, student_ + Settings{{"model.hidden_size", "48"}, {"train.steps", "1"}});
  EXPECT_NE(refused({{"task.teacher", other.string()}}).find("of teacher"), std::string::npos);
}

TEST_F(Distillation, ThePlanCountsTheTeacher) {
  for (const char* precision : {"fp32", "bf16"})
    run_ranks(1, [&](Communicator& comm) {
      Config config = settled(config_for("engine", student_ + Settings{{"train.precision", precision}}));
      Engine engine(resolve_model(config, {}), config, true, comm);
      Batch batch = engine.task().blank_batch(Device::cpu(), 8);
      engine.work().ctx.sample_keys = batch.keys;
      engine.work().ctx.training = true;
      auto sync =
          make_grad_sync(grad_sync_options(config, engine.source().choice, 1), engine.task().parameters(), comm);
      sync->begin(engine.work().ctx, {}, true, true);
      engine.task().train(engine.work().ctx, batch, *sync);  // in the memory that was planned
      sync->finish();
      EXPECT_EQ(engine.plan().teacher, engine.teacher()->bytes()) << precision;
      EXPECT_GE(engine.plan().teacher, 30'000) << precision;
      EXPECT_EQ(engine.plan().total() - engine.plan().batches,
                engine.plan().parameters + engine.plan().teacher + engine.plan().gradients + engine.plan().optimizer +
                    engine.plan().packed + engine.plan().activations + engine.plan().step);
    });
}

TEST_F(Distillation, RefusesTeachersThatDoNotFit) {
  auto has = [](const std::string& text, const char* part) {
    EXPECT_NE(text.find(part), std::string::npos) << text << " lacks " << part;
  };
  has(refusal({{"task.teacher", ""}}), "needs task.teacher: the folder of the model to learn from");
  has(refusal({{"task.teacher", "nowhere/at/all"}}), "task.teacher: there is no folder 'nowhere/at/all'");
  has(refusal({{"model.image_size", "32"}}), "the teacher takes images of 24 x 24 pixels and the student of 32 x 32");
  Path other = runs_ / "renamed";
  std::filesystem::copy(scenes() / "train", other, std::filesystem::copy_options::recursive);
  auto folders = std::filesystem::directory_iterator(other);
  std::filesystem::rename(folders->path(), other / "0-renamed");
  has(refusal({{"data.train", other.string()}}), "class 0 is");
  std::filesystem::remove_all(other / "0-renamed");
  has(refusal({{"data.train", other.string()}}), "classes and the data have");
}

TEST_F(Distillation, FeaturesAreLearntByProjections) {
  const Settings features{{"task.losses", "label:0.5, feature:1"}, {"train.steps", "30"}, {"train.lr", "3e-3"}};
  Path folder = distil("auto", 1, features);
  auto losses = steps(folder);
  auto alone = steps(distil("alone", 1, features + Settings{{"task.losses", "feature"}}));
  EXPECT_LT(double(alone.back()["loss"]), 0.9 * double(alone[0]["loss"]));
  EXPECT_EQ(weights(folder).find("distillation."), std::string::npos) << "what is for learning only stays";
  for (const char* strategy : {"ddp", "zero1", "zero2"})
    expect_same_losses(
        losses,
        steps(distil(strategy, 2, features + Settings{{"parallel.strategy", strategy}, {"train.batch_size", "4"}})),
        1e-5);
  EXPECT_TRUE(weights(folder) == weights(distil("again", 1, features + Settings{{"train.recompute", "true"}})));
  Path whole =
      distil("whole", 2, {{"task.losses", "feature"}, {"task.layers", "1:1, 2:3"}, {"run.checkpoint_every", "3"}});
  const Settings crashing{{"task.losses", "feature"}, {"task.layers", "1:1, 2:3"}, {"run.checkpoint_every", "3"}};
  EXPECT_THROW(distil("resumed", 2, crashing + Settings{{"fault.kind", "throw"}, {"fault.step", "8"}}), Error);
  EXPECT_TRUE(weights(whole) == weights(distil("resumed", 2, crashing + Settings{{"run.resume", "auto"}})));
}

TEST_F(Distillation, ADistillationTokenLearnsWhatTheTeacherSays) {
  const Settings token{{"task.losses", "label:0.5, deit_hard:0.5"}, {"task.distillation_token", "true"}};
  Path folder = distil("deit", 2, token + Settings{{"data.eval", (scenes() / "eval").string()}});
  EXPECT_NE(read_file(folder / "model/config.json", 1 << 20).find("DeiTForImageClassificationWithTeacher"),
            std::string::npos);
  EXPECT_EQ(evaluations(folder).size(), 2u);
  EXPECT_TRUE(weights(distil("kept", 1, token)) ==
              weights(distil("again", 1, token + Settings{{"train.recompute", "true"}})));
  Settings alone{{"model.pretrained", folder.string()}};
  EXPECT_NE(message_of([&] { train("alone", 1, alone); }, Exit::config).find("train it with task.name = distillation"),
            std::string::npos);
  train("further", 1,
        Settings{{"task.name", "distillation"}, {"task.teacher", teacher_.string()}, {"train.steps", "1"}} + alone);
}

TEST_F(Distillation, AStudentMayBeCutOutOfTheTeacher) {
  Settings cut{{"task.name", "distillation"}, {"task.teacher", teacher_.string()}};
  Path all = train(
      "all", 1, cut + Settings{{"task.every_layer", "1"}, {"task.losses", "mse"}, {"model.hidden_dropout_prob", "0"}});
  EXPECT_EQ(double(steps(all)[0]["loss"]), 0) << "all of it is the teacher";
  Path part = train("part", 2,
                    cut + Settings{{"task.every_layer", "3"},
                                   {"task.first_heads", "2"},
                                   {"train.precision", "bf16"},
                                   {"parallel.strategy", "zero1"}});
  auto config = nlohmann::json::parse(read_file(part / "model/config.json", 1 << 20));
  EXPECT_EQ(int(config["num_hidden_layers"]), 1);
  EXPECT_EQ(int(config["num_attention_heads"]), 2);
  EXPECT_EQ(int(config["hidden_size"]), 24);
  EXPECT_EQ(int(config["intermediate_size"]), 32);
  auto refused = [&](const Settings& change) {
    return message_of([&] { train("refused", 1, cut + change); }, Exit::config);
  };
  EXPECT_NE(refused({{"task.every_layer", "2"}}).find("does not divide the 3 layers of the teacher"),
            std::string::npos);
  EXPECT_NE(refused({{"task.first_heads", "5"}}).find("expected at most the 4 heads"), std::string::npos);
  EXPECT_NE(
      refused({{"task.first_heads", "2"}, {"model.hidden_size", "48"}}).find("cut out of the teacher, where it is 24"),
      std::string::npos);
  EXPECT_NE(refused({{"task.first_heads", "2"}, {"model.pretrained", teacher_.string()}}).find("give one or the other"),
            std::string::npos);
}

// Online, cached, and half cached: the same bits.
TEST_F(Distillation, ACacheChangesNoBit) {
  for (const char* precision : {"fp32", "bf16"})
    for (const char* augment : {"none", "default"}) {
      const Settings by{{"train.precision", precision},
                        {"data.augment", augment},
                        {"train.epochs", "3"},
                        {"train.steps", "epochs"},
                        {"train.batch_size", "8"}};
      auto name = [&](const char* what) { return fmt::format("{}-{}-{}", what, precision, augment); };
      const Settings cached = by + Settings{{"task.cache", (runs_ / name("cache")).string()}};
      const std::string online = weights(distil(name("online"), 2, by));
      std::string said;
      log::set_sink([&](const std::string& line) { said += line + "\n"; });
      EXPECT_TRUE(online == weights(distil(name("filling"), 2, cached))) << precision << " " << augment;
      said.clear();
      if (augment == std::string("default")) {
        auto files = std::filesystem::directory_iterator(runs_ / name("cache"));
        EXPECT_EQ(std::distance(files, {}), 2 * 3) << "one of each rank with every checkpoint";
      }
      EXPECT_TRUE(online == weights(distil(name("filled"), 2, cached))) << precision << " " << augment;
      EXPECT_NE(said.find("found in the cache: 144 of 144"), std::string::npos) << said;
    }
}

TEST_F(Distillation, AForeignCacheIsRefused) {
  const std::string folder = (runs_ / "cache").string();
  const Settings cached{{"task.cache", folder}, {"data.augment", "none"}};
  distil("first", 1, cached);
  EXPECT_NE(refusal({{"task.cache", folder}}).find("augment none"), std::string::npos);
  Path other = train("other", 1, {{"model.pretrained", teacher_.string()}, {"train.steps", "1"}});
  EXPECT_NE(refusal(cached + Settings{{"task.teacher", other.string()}}).find("was made with 'teacher: ViT"),
            std::string::npos);
  EXPECT_NE(refusal(cached + Settings{{"task.cache_top_k", "2"}}).find("kept: "), std::string::npos);
  EXPECT_NE(refusal(cached + Settings{{"task.losses", "feature"}}).find("needs the teacher itself"), std::string::npos);
  EXPECT_NE(refusal({{"task.cache_top_k", "2"}}).find("needs task.cache"), std::string::npos);
}

TEST_F(Distillation, BothAreComparedAtTheEnd) {
  Path folder = distil("student", 2, {{"data.eval", (scenes() / "eval").string()}});
  const auto end = lines(folder, "teacher_parameters").at(0);
  for (const char* who : {"teacher_", "student_"}) {
    for (const char* what :
         {"parameters", "flops_per_image", "inference_memory_bytes", "images_per_second", "eval_loss"})
      EXPECT_GT(double(end[std::string(who) + what]), 0) << who << what;
    EXPECT_TRUE(end.contains(std::string(who) + "eval_accuracy"));
  }
  EXPECT_EQ(end["student_eval_loss"], evaluations(folder).back()["eval_loss"]);
  EXPECT_GT(double(end["teacher_parameters"]), double(end["student_parameters"]));
  EXPECT_GT(double(end["teacher_flops_per_image"]), double(end["student_flops_per_image"]));
}

// The student is a model like any other.
TEST_F(Distillation, AStudentIsAClassifier) {
  Path folder = distil("student", 1, {{"data.eval", (scenes() / "eval").string()}});
  EXPECT_EQ(evaluations(folder).size(), 1u);
  train("further", 1, {{"model.pretrained", folder.string()}, {"train.steps", "1"}});
}

}  // namespace
}  // namespace viaduct::test
