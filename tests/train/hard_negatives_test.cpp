// Hard negatives: which text a mismatch is judged with.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/train/learner.hpp"

namespace viaduct::test {
namespace {

// The texts of a batch by their similarity to the picture of row i, the most similar first; those that belong to it are
// left out where `allowed`.
std::vector<int64_t> by_similarity(const BridgeTower::Embeddings& e, const Batch& batch, int64_t i, bool allowed) {
  Rows text = rows_of(e.text), image = rows_of(e.image);
  const int64_t T = batch.text.ids.shape[1];
  auto words = [&](int64_t row) {
    const int32_t* ids = data<int32_t>(batch.text.ids) + row * T;
    return std::vector<int32_t>(ids, ids + T);
  };
  std::vector<std::pair<double, int64_t>> others;
  for (int64_t j = 0; j < batch.size(); ++j) {
    if (allowed && (batch.images[size_t(j)] == batch.images[size_t(i)] || words(i) == words(j))) continue;
    double cosine = 0;
    for (size_t c = 0; c < text[0].size(); ++c) cosine += image[size_t(i)][c] * text[size_t(j)][c];
    others.emplace_back(-cosine, j);
  }
  std::stable_sort(others.begin(), others.end(), [](auto& a, auto& b) { return a.first < b.first; });
  std::vector<int64_t> order;
  for (auto& [cosine, j] : others) order.push_back(j);
  return order;
}

struct Judged {
  std::vector<double> losses;
  int own_picture = 0, own_words = 0;  // mismatches for which such a text was the most similar one
};

// What the loss of every sample is with the text that row i should be judged with.
Judged judged(Learner& learner, const Batch& batch) {
  Judged found;
  BridgeTower model(bridgetower(learner.source.config), learner.source.normalization(), {.itm = true, .itc = true});
  model.parameters().materialize(Device::cpu(), learner.work.ctx.dtype, false);
  model.parameters().initialize(7);
  auto scope = learner.work.arena.scope("naive");
  auto e = model.itc(learner.work.ctx, nullptr, {batch.pixels, batch.text.ids, batch.text.mask}, nullptr);
  Buffer own(Device::cpu(), 2 * batch.pair.ids.bytes());
  Tensor ids = own.view(0, batch.pair.ids.shape, DType::i32), mask = own.view(ids.bytes(), ids.shape, DType::i32);
  const int64_t T = ids.shape[1];
  for (int64_t i = 0; i < batch.size(); ++i) {
    const bool matches = data<int32_t>(batch.pair_labels)[i] == 1;
    auto order = by_similarity(e, batch, i, true);
    int64_t j = matches || order.empty() ? -1 : order[0], tempting = by_similarity(e, batch, i, false)[0];
    if (!matches && tempting != i && tempting != j)
      ++(batch.images[size_t(tempting)] == batch.images[size_t(i)] ? found.own_picture : found.own_words);
    const TextTensors& from = j < 0 ? batch.pair : batch.text;
    std::copy_n(data<int32_t>(from.ids) + (j < 0 ? i : j) * T, T, data<int32_t>(ids) + i * T);
    std::copy_n(data<int32_t>(from.mask) + (j < 0 ? i : j) * T, T, data<int32_t>(mask) + i * T);
  }
  Rows logits = rows_of(model.itm(learner.work.ctx, nullptr, {batch.pixels, ids, mask}, nullptr));
  for (size_t i = 0; i < logits.size(); ++i)
    found.losses.push_back(cross_entropy(logits[i], data<int32_t>(batch.pair_labels)[i]));
  return found;
}

// Few pictures and many texts: every picture with all its captions, then another one of which the same is said.
Path pairs_that_tempt(const TempFolder& folder) {
  std::ifstream captions(scenes() / "captions.jsonl");
  std::vector<nlohmann::json> rows;
  for (std::string line; std::getline(captions, line);) rows.push_back(nlohmann::json::parse(line));
  std::string text;
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::string name = std::to_string(i) + ".jpg";
    std::filesystem::copy(scenes() / rows[i]["image"].get<std::string>(), folder / name);
    for (const std::string& said : rows[i - i % 2]["captions"].get<std::vector<std::string>>())
      text += nlohmann::json{{"image", name}, {"text", said}}.dump() + "\n";
  }
  write_bytes(folder / "pairs.jsonl", text);
  return folder / "pairs.jsonl";
}

TEST(HardNegatives, AHardNegativeIsTheMostSimilarTextOfAnotherPicture) {
  TempFolder folder;
  const Settings random = {{"task.name", "itc, itm"},
                           {"data.train", pairs_that_tempt(folder).string()},
                           {"data.augment", "default"},  // the same picture twice is not the same pixels
                           {"data.shuffle", "false"},
                           {"model.initializer_factor", "3"},  // another text is another score
                           {"model.text_config.initializer_factor", "3"},
                           {"train.batch_size", "6"}};
  const Settings hard = random + Settings{{"task.itm_negatives", "hard"}};
  run_ranks(1, [&](Communicator& comm) {
    int changed = 0, own_picture = 0, own_words = 0;
    Learner learner(hard, comm, DType::f32), usual(random, comm, DType::f32);
    for (int64_t step = 0; step < 20; ++step) {
      Batch batch = learner.batches(step, 0, 1)[0];
      Sink sink(learner.task->parameters()), other(usual.task->parameters());
      learner.learn(batch, sink), usual.learn(batch, other);
      const Judged naive = judged(learner, batch);
      own_picture += naive.own_picture, own_words += naive.own_words;
      const std::vector<double>&expected = naive.losses, &found = sink.passes.back();
      ASSERT_EQ(found.size(), expected.size());
      for (size_t i = 0; i < found.size(); ++i) {
        EXPECT_NEAR(found[i], expected[i], 2e-6 * (1 + expected[i])) << "row " << i << " of step " << step;
        bool same = found[i] == other.passes.back()[i];
        if (data<int32_t>(batch.pair_labels)[i] == 1)
          EXPECT_TRUE(same) << "row " << i << " matches and must stay";
        else
          changed += !same;
      }
    }
    EXPECT_GT(changed, 10);
    EXPECT_GT(own_picture, 0);
    EXPECT_GT(own_words, 0);
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
