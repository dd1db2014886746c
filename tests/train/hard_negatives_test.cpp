// Hard negatives: which text a mismatch is judged with.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/train/learner.hpp"

namespace viaduct::test {
namespace {

// The text of row i that is judged: of a mismatch the most similar one of another picture that says something else.
int64_t hardest(const BridgeTower::Embeddings& e, const Batch& batch, int64_t i) {
  Rows text = rows_of(e.text), image = rows_of(e.image);
  const int64_t T = batch.text.ids.shape[1];
  auto words = [&](int64_t row) {
    const int32_t* ids = data<int32_t>(batch.text.ids) + row * T;
    return std::vector<int32_t>(ids, ids + T);
  };
  std::vector<std::pair<double, int64_t>> others;
  for (int64_t j = 0; j < batch.size(); ++j) {
    if (batch.images[size_t(j)] == batch.images[size_t(i)] || words(i) == words(j)) continue;
    double cosine = 0;
    for (size_t c = 0; c < text[0].size(); ++c) cosine += image[size_t(i)][c] * text[size_t(j)][c];
    others.emplace_back(-cosine, j);
  }
  return others.empty() ? -1 : std::min_element(others.begin(), others.end())->second;
}

// What the loss of every sample is with the text that row i should be judged with.
std::vector<double> judged_losses(Learner& learner, const Batch& batch) {
  BridgeTower model(bridgetower(learner.source.config), learner.source.normalization(), {.itm = true, .itc = true});
  model.parameters().materialize(Device::cpu(), learner.work.ctx.dtype, false);
  model.parameters().initialize(7);
  auto scope = learner.work.arena.scope("naive");
  auto e = model.itc(learner.work.ctx, nullptr, {batch.pixels, batch.text.ids, batch.text.mask}, nullptr);
  Buffer own(Device::cpu(), 2 * batch.pair.ids.bytes());
  Tensor ids = own.view(0, batch.pair.ids.shape, DType::i32), mask = own.view(ids.bytes(), ids.shape, DType::i32);
  const int64_t T = ids.shape[1];
  for (int64_t i = 0; i < batch.size(); ++i) {
    int64_t j = data<int32_t>(batch.pair_labels)[i] == 1 ? -1 : hardest(e, batch, i);
    const TextTensors& from = j < 0 ? batch.pair : batch.text;
    std::copy_n(data<int32_t>(from.ids) + (j < 0 ? i : j) * T, T, data<int32_t>(ids) + i * T);
    std::copy_n(data<int32_t>(from.mask) + (j < 0 ? i : j) * T, T, data<int32_t>(mask) + i * T);
  }
  std::vector<double> losses;
  Rows logits = rows_of(model.itm(learner.work.ctx, nullptr, {batch.pixels, ids, mask}, nullptr));
  for (size_t i = 0; i < logits.size(); ++i)
    losses.push_back(cross_entropy(logits[i], data<int32_t>(batch.pair_labels)[i]));
  return losses;
}

// Rows of one picture follow each other, so that a batch has several texts of the same picture.
Path pairs_of_the_same_pictures(const TempFolder& folder) {
  std::ifstream captions(scenes() / "captions.jsonl");
  std::string text;
  int i = 0;
  for (std::string line; std::getline(captions, line); ++i) {
    auto row = nlohmann::json::parse(line);
    for (const std::string& said : row["captions"].get<std::vector<std::string>>())
      text += nlohmann::json{{"image", std::to_string(i) + ".jpg"}, {"text", said}}.dump() + "\n";
    std::filesystem::copy(scenes() / row["image"].get<std::string>(), folder / (std::to_string(i) + ".jpg"));
  }
  write_bytes(folder / "pairs.jsonl", text);
  return folder / "pairs.jsonl";
}

TEST(HardNegatives, AHardNegativeIsTheMostSimilarTextOfAnotherPicture) {
  TempFolder folder;
  const Settings random = {{"task.name", "itc, itm"},
                           {"data.train", pairs_of_the_same_pictures(folder).string()},
                           {"data.augment", "default"},  // the same picture twice is not the same pixels
                           {"data.shuffle", "false"},
                           {"train.batch_size", "12"}};
  const Settings hard = random + Settings{{"task.itm_negatives", "hard"}};
  run_ranks(1, [&](Communicator& comm) {
    int changed = 0, doubled = 0;
    Learner learner(hard, comm, DType::f32), usual(random, comm, DType::f32);
    for (int64_t step = 0; step < 5; ++step) {
      Batch batch = learner.batches(step, 0, 1)[0];
      Sink sink(learner.task->parameters()), other(usual.task->parameters());
      learner.learn(batch, sink), usual.learn(batch, other);
      std::vector<double> expected = judged_losses(learner, batch), found = sink.passes.back();
      ASSERT_EQ(found.size(), expected.size());
      for (size_t i = 0; i < found.size(); ++i) {
        EXPECT_NEAR(found[i], expected[i], 1e-4 * (1 + expected[i])) << "row " << i << " of step " << step;
        bool same = found[i] == other.passes.back()[i];
        if (data<int32_t>(batch.pair_labels)[i] == 1)
          EXPECT_TRUE(same) << "row " << i << " matches and must stay";
        else
          changed += !same;
        doubled += i > 0 && batch.images[i] == batch.images[i - 1];
      }
    }
    EXPECT_GT(changed, 10);
    EXPECT_GT(doubled, 5);
  });
}

// Where the batch has no other picture, a mismatch keeps the text that was drawn for it.
TEST(HardNegatives, WithoutAnotherPictureInTheBatchANegativeStaysRandom) {
  const Settings random = Settings{{"task.name", "itc, itm"}} + batch_of(1);
  run_ranks(1, [&](Communicator& comm) {
    int mismatches = 0;
    Learner hard(random + Settings{{"task.itm_negatives", "hard"}}, comm, DType::f32), usual(random, comm, DType::f32);
    for (int64_t step = 0; step < 8; ++step) {
      Batch batch = hard.batches(step, 0, 1)[0];
      Sink a(hard.task->parameters()), b(usual.task->parameters());
      hard.learn(batch, a), usual.learn(batch, b);
      EXPECT_EQ(a.passes, b.passes);
      mismatches += data<int32_t>(batch.pair_labels)[0] == 0;
    }
    EXPECT_GT(mismatches, 0);
  });
}

}  // namespace
}  // namespace viaduct::test
