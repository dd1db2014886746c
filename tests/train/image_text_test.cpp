// The losses of image-text learning and their gradients: over ranks, as a weighted sum, and against the formulas.
#include "train/image_text.hpp"

#include <gmock/gmock.h>

#include "tests/train/learner.hpp"

namespace viaduct::test {
namespace {

using testing::UnorderedElementsAreArray;

struct Learnt {
  double loss = 0, terms = 0;
  std::map<std::string, std::vector<double>> gradients;
  void add(ParameterStore& store, double weight = 1) {
    for (const Parameter& p : store.parameters()) {
      if (p.frozen()) continue;
      Tensor g = store.grads(p.range);
      auto& sum = gradients[p.name];
      sum.resize(size_t(p.shape.numel()));
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += weight * value(g, int64_t(i));
    }
  }
};

// Of a step, summed over all ranks.
Learnt learn(const Settings& settings, int ranks, int64_t step, DType dtype) {
  Learnt learnt;
  run_ranks(ranks, [&](Communicator& comm) {
    Learner learner(settings, comm, dtype);
    ParameterStore& store = learner.task->parameters();
    Sink sink(store);
    for (const Batch& batch : learner.batches(step, comm.rank(), ranks)) learner.learn(batch, sink);
    comm.all_reduce(store.grads(), Reduce::sum, learner.work.stream);
    double sums[2] = {sink.plain.loss, double(sink.plain.terms)};
    comm.all_reduce(Tensor{sums, {2}, DType::f64, Device::cpu()}, Reduce::sum, learner.work.stream);
    if (comm.rank() == 0) learnt.loss = sums[0], learnt.terms = sums[1], learnt.add(store);
  });
  return learnt;
}

// Every tensor by its own norm; `rounded`: by that of the whole gradient.
void expect_same(const Learnt& a, const Learnt& b, double relative, bool rounded = false) {
  EXPECT_NEAR(a.loss, b.loss, relative * std::abs(a.loss));
  EXPECT_EQ(a.terms, b.terms);
  ASSERT_EQ(a.gradients.size(), b.gradients.size());
  std::map<std::string, std::pair<double, double>> squares;  // of the gradient and of the difference
  double whole = 0;
  for (const auto& [name, gradient] : a.gradients) {
    const auto& other = b.gradients.at(name);
    auto& [norm, difference] = squares[name];
    for (size_t i = 0; i < gradient.size(); ++i) {
      norm += gradient[i] * gradient[i];
      difference += (gradient[i] - other[i]) * (gradient[i] - other[i]);
    }
    whole += norm;
  }
  EXPECT_GT(whole, 1e-3) << "there is nothing to compare";
  for (const auto& [name, square] : squares)
    EXPECT_LE(std::sqrt(square.second), relative * std::sqrt(rounded ? whole : square.first + 1e-6 * whole)) << name;
}

const Settings kItc = {{"task.name", "itc"}}, kGlobalItc = {{"task.name", "itc"}, {"task.negatives", "global"}};
// 96 pictures in steps of 36: the last step has 24 of them, so that of four ranks with nine each one has six and one
// none.
constexpr int kWhole = 36;
constexpr int64_t kLastStep = 2, kLastSamples = 24;

// Without an op of ours: the three directions of Hugging Face's BridgeTowerForContrastiveLearning, the mean of each over
// the queries [first, last) against all keys; their sum over the queries is returned.
double naive_contrast(const BridgeTower::Embeddings& e, double scale, int64_t first, int64_t last) {
  Rows text = rows_of(e.text), image = rows_of(e.image), cross = rows_of(e.cross);
  auto direction = [&](const Rows& queries, const Rows& keys) {
    double sum = 0;
    for (int64_t q = first; q < last; ++q) {
      double all = 0, own = 0;
      for (int64_t k = first; k < last; ++k) {
        double cosine = 0;
        for (size_t c = 0; c < keys[0].size(); ++c) cosine += queries[size_t(q)][c] * keys[size_t(k)][c];
        all += std::exp(scale * cosine);
        if (k == q) own = scale * cosine;
      }
      sum += std::log(all) - own;
    }
    return sum;
  };
  return (direction(text, image) + direction(text, cross) + direction(image, cross)) / 3;
}

// The union batch's embeddings, from the model alone.
double naive_loss(int64_t step, const std::vector<int64_t>& cuts) {
  double loss = 0;
  run_ranks(1, [&](Communicator& comm) {
    Learner learner(kItc + batch_of(kWhole), comm, DType::f64);
    BridgeTower model(bridgetower(learner.source.config), learner.source.normalization(), {.itc = true});
    model.parameters().materialize(Device::cpu(), DType::f64, false);
    model.parameters().initialize(7);
    Batch batch = learner.batches(step, 0, 1)[0];
    auto scope = learner.work.arena.scope("naive");
    auto e = model.itc(learner.work.ctx, nullptr, {batch.pixels, batch.text.ids, batch.text.mask}, nullptr);
    double scale = std::exp(value(model.logit_scale().value, 0));
    for (size_t i = 0; i + 1 < cuts.size(); ++i) loss += naive_contrast(e, scale, cuts[i], cuts[i + 1]);
  });
  return loss;
}

TEST(ImageText, GlobalNegativesAreThoseOfTheUnionBatch) {
  for (int64_t step : {int64_t(0), kLastStep}) {
    SCOPED_TRACE(fmt::format("step {}", step));
    const int64_t samples = step == kLastStep ? kLastSamples : kWhole;
    Learnt alone = learn(kItc + batch_of(kWhole), 1, step, DType::f64);
    EXPECT_EQ(alone.terms, samples);
    EXPECT_NEAR(alone.loss, naive_loss(step, {0, samples}), 1e-9 * alone.loss);
    for (int ranks : {1, 2, 4})
      expect_same(alone, learn(kGlobalItc + batch_of(kWhole / ranks), ranks, step, DType::f64), 1e-11);
  }
  Learnt alone = learn(kItc + batch_of(kWhole), 1, kLastStep, DType::f32);
  for (int ranks : {1, 2, 4})
    expect_same(alone, learn(kGlobalItc + batch_of(kWhole / ranks), ranks, kLastStep, DType::f32), 1e-6, true);
}

TEST(ImageText, LocalNegativesAreHuggingFacesLossOfEveryRank) {
  for (int ranks : {2, 4}) {
    Learnt together = learn(kItc + batch_of(kWhole / ranks), ranks, kLastStep, DType::f64), apart;
    run_ranks(1, [&](Communicator& comm) {
      for (int rank = 0; rank < ranks; ++rank) {
        Learner learner(kItc + batch_of(kWhole / ranks), comm, DType::f64);
        Sink sink(learner.task->parameters());
        learner.learn(learner.batches(kLastStep, rank, ranks)[0], sink);
        apart.loss += sink.plain.loss, apart.terms += double(sink.plain.terms);
        apart.add(learner.task->parameters());
      }
    });
    expect_same(apart, together, 1e-11);
    std::vector<int64_t> cuts = ranks == 2 ? std::vector<int64_t>{0, 18, 24} : std::vector<int64_t>{0, 9, 18, 24};
    double expected = naive_loss(kLastStep, cuts);
    EXPECT_NEAR(together.loss, expected, 1e-9 * expected);
  }
}

TEST(ImageText, ASumOfLossesHasTheSumOfTheirGradients) {
  const Settings sum = {{"task.name", "itm:1, mlm:1, itc:0.5"}};
  Learnt together = learn(sum + batch_of(8), 1, 2, DType::f64), expected;
  run_ranks(1, [&](Communicator& comm) {
    for (auto [name, weight] : {std::pair{"itm", 1.0}, {"mlm", 1.0}, {"itc", 0.5}}) {
      // The batch of the sum, so that lengths agree; a loss alone takes of it what it needs.
      Learner all(sum + batch_of(8), comm, DType::f64);
      Learner one(Settings{{"task.name", name}} + batch_of(8), comm, DType::f64);
      Sink sink(one.task->parameters());
      one.learn(all.batches(2, 0, 1)[0], sink);
      EXPECT_EQ(sink.plain.terms, 8);
      expected.loss += weight * sink.plain.loss, expected.terms = 8;
      expected.add(one.task->parameters(), weight);
    }
  });
  expect_same(expected, together, 1e-11);
}

TEST(ImageText, OfSeveralPassesTheLastReportsEveryBlockOnce) {
  for (const char* name : {"itm", "itc", "mlm", "itm:1, mlm:1, itc:0.5"})
    run_ranks(1, [&](Communicator& comm) {
      Learner learner(Settings{{"task.name", name}} + batch_of(4), comm, DType::f32);
      ParameterStore& store = learner.task->parameters();
      std::vector<std::string> blocks;
      for (Range block : store.blocks()) blocks.push_back(store.block_name(block));
      Sink sink(store);
      learner.learn(learner.batches(0, 0, 1)[0], sink);
      EXPECT_THAT(sink.plain.reported, UnorderedElementsAreArray(blocks)) << name;
      EXPECT_EQ(sink.plain.terms, 4) << name;
      EXPECT_EQ(sink.passes.size(), learner.source.choice.losses()) << name;
      Sink nothing(store);
      learner.task->train_nothing(learner.work.ctx, nothing);
      EXPECT_THAT(nothing.plain.reported, UnorderedElementsAreArray(blocks)) << name;
    });
}

// A frozen tower has no gradients, and the others keep theirs.
TEST(ImageText, FreezingATowerChangesNoOtherGradient) {
  const Settings all = Settings{{"task.name", "itm:1, mlm:1, itc:0.5"}} + batch_of(4);
  Learnt whole = learn(all, 1, 0, DType::f64),
         part = learn(all + Settings{{"task.freeze", "vision"}}, 1, 0, DType::f64);
  auto& gradients = whole.gradients;
  EXPECT_LT(part.gradients.size(), gradients.size());
  EXPECT_GT(std::erase_if(gradients, [](auto& g) { return g.first.starts_with("bridgetower.vision_model."); }), 0u);
  expect_same(whole, part, 1e-12);
}

// The mean over all masked tokens of the step, whatever its passes hold of them.
TEST(ImageText, MaskedTokensOfAStepAllWeighTheSame) {
  const Settings settings = {{"task.name", "mlm"}, {"train.batch_size", "3"}, {"train.accumulate", "2"}};
  run_ranks(1, [&](Communicator& comm) {
    Learner learner(settings, comm, DType::f64);
    BridgeTower model(bridgetower(learner.source.config), learner.source.normalization(), {.mlm = true});
    model.parameters().materialize(Device::cpu(), DType::f64, false);
    model.parameters().initialize(7);
    Sink sink(learner.task->parameters());
    double sum = 0;
    std::vector<int64_t> tokens;
    for (const Batch& batch : learner.batches(1, 0, 1)) {
      learner.learn(batch, sink);
      auto scope = learner.work.arena.scope("naive");
      auto masked = model.mlm(learner.work.ctx, nullptr, {batch.pixels, batch.masked_ids, batch.text.mask},
                              batch.masked_labels, nullptr);
      Rows logits = rows_of(masked.logits);
      for (size_t r = 0; r < logits.size(); ++r) sum += cross_entropy(logits[r], data<int32_t>(masked.labels)[r]);
      tokens.push_back(int64_t(logits.size()));
    }
    ASSERT_NE(tokens[0], tokens[1]) << "the passes must differ to be told apart";
    EXPECT_EQ(sink.plain.terms, 6);
    EXPECT_NEAR(sink.plain.loss / 6, sum / double(tokens[0] + tokens[1]), 1e-9);
  });
}

TEST(ImageText, RecomputationAndFrozenTowersTakeLessMemory) {
  auto plan = [](const Settings& more) {
    Config config = config_of(tiny_bridgetower() + Settings{{"task.name", "itm, itc"}} + more);
    ModelSource source = resolve_model(config, {});
    return plan_memory(task_maker(source, config, 1), step_shape(config, source.choice, Device::Kind::cpu, true));
  };
  const MemoryPlan plain = plan({}), again = plan({{"train.recompute", "true"}}),
                   frozen = plan({{"task.freeze", "text"}});
  EXPECT_LT(again.kept, plain.kept * 3 / 4);
  EXPECT_EQ(again.gradients, plain.gradients);
  EXPECT_LT(frozen.kept, plain.kept);
  EXPECT_LT(frozen.gradients, plain.gradients);
  EXPECT_LT(frozen.optimizer, plain.optimizer);
}

TEST(ImageText, ExecutedWorkIsNeverMoreThanTheNominal) {
  for (const char* name : {"itm", "itc", "mlm", "itm:1, mlm:1, itc:0.5"})
    for (const char* freeze : {"", "text, vision"}) {
      Config config = config_of(tiny_bridgetower() + Settings{{"task.name", name}, {"task.freeze", freeze}});
      auto task = task_maker(resolve_model(config, {}), config, 1)();
      for (bool backward : {false, true}) {
        EXPECT_GT(task->flops(backward, true), 0);
        EXPECT_LE(task->flops(backward, true), task->flops(backward, false)) << name;
      }
      EXPECT_GT(task->flops(true, true), task->flops(false, true)) << name;
    }
}

}  // namespace
}  // namespace viaduct::test
