#include "data/text_batch.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "data/loader.hpp"
#include "data/masking.hpp"
#include "tests/data/text_tools.hpp"
#include "tests/support/messages.hpp"

namespace viaduct::test {
namespace {

using Ids = std::vector<int32_t>;

Ids values(const Tensor& t) { return t ? Ids(data<int32_t>(t), data<int32_t>(t) + t.numel()) : Ids(); }

// A copy of what a batch holds of text.
struct Content {
  std::vector<int64_t> samples, lengths;  // lengths: T of the text and of the pair
  std::vector<uint8_t> pixels;
  Ids ids, mask, pair_ids, pair_mask, pair_labels, masked_ids, masked_labels;
  int64_t step_samples = 0, step_masked = 0;
  bool operator==(const Content&) const = default;
};

Content content(const Batch& b) {
  Content c{.samples = b.samples, .step_samples = b.step_samples, .step_masked = b.step_masked};
  for (const Tensor& t : {b.text.ids, b.text.mask, b.pair.ids, b.pair.mask, b.masked_ids, b.masked_labels})
    if (t) {
      EXPECT_EQ(t.shape[0], b.size());
      EXPECT_EQ(t.shape[1], b.text.ids.shape[1]);
    }
  c.lengths.push_back(b.text.ids.shape[1]);
  c.pixels.assign(data<uint8_t>(b.pixels), data<uint8_t>(b.pixels) + b.pixels.numel());
  c.ids = values(b.text.ids), c.mask = values(b.text.mask);
  c.pair_ids = values(b.pair.ids), c.pair_mask = values(b.pair.mask), c.pair_labels = values(b.pair_labels);
  c.masked_ids = values(b.masked_ids), c.masked_labels = values(b.masked_labels);
  return c;
}

void append(Content& all, const Content& c) {
  auto join = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  join(all.samples, c.samples), join(all.pixels, c.pixels);
  join(all.ids, c.ids), join(all.mask, c.mask), join(all.pair_ids, c.pair_ids), join(all.pair_mask, c.pair_mask);
  join(all.pair_labels, c.pair_labels), join(all.masked_ids, c.masked_ids), join(all.masked_labels, c.masked_labels);
  if (!all.lengths.empty()) {
    EXPECT_EQ(all.lengths, c.lengths);
    EXPECT_EQ(all.step_masked, c.step_masked);
  }
  all.lengths = c.lengths, all.step_masked = c.step_masked, all.step_samples = c.step_samples;
}

// Row `row` of [B, T] as the text it was made of.
Ids tokens_of(const Ids& ids, const Ids& mask, size_t row, int64_t length) {
  Ids tokens;
  for (size_t i = row * size_t(length); i < (row + 1) * size_t(length); ++i) {
    if (mask[i]) tokens.push_back(ids[i]);
    EXPECT_EQ(ids[i] == tiny_tokenizer()->pad(), mask[i] == 0);
  }
  return tokens;
}

class LoaderTextTest : public testing::Test {
 protected:
  void make(int rows, int rows_per_image = 1, std::vector<int> broken = {}) {
    dataset = write_captions(folder.path(), rows, rows_per_image, broken);
    options = {.batch_size = 4, .seed = 5, .processor = {.height = 16, .width = 18}, .augment = Augment::standard};
    options.text = text_options(*dataset);
    options.text.pairs = options.text.masked = true;
  }
  std::vector<Content> read(const LoaderOptions& o, int count, int64_t start = 0) {
    Loader loader(dataset, o, start);
    std::vector<Content> all;
    for (int i = 0; i < count; ++i) all.push_back(content(loader.next()));
    return all;
  }
  // The content of whole steps, whoever makes it.
  std::vector<Content> steps(int64_t ranks, int64_t accumulate, int64_t batch_size, int count) {
    std::vector<Content> all{size_t(count)};
    LoaderOptions o = options;
    o.ranks = ranks, o.accumulate = accumulate, o.batch_size = batch_size;
    for (o.rank = 0; o.rank < ranks; ++o.rank) {
      o.workers = int(o.rank % 2);
      const auto mine = read(o, count * int(accumulate));
      for (size_t i = 0; i < mine.size(); ++i) append(all[i / size_t(accumulate)], mine[i]);
    }
    return all;
  }
  TempFolder folder;
  DatasetPtr dataset;
  LoaderOptions options;
  Log log;
};

TEST_F(LoaderTextTest, HoldsTheTokensOfTheChosenTexts) {
  make(23, 2);
  Loader loader(dataset, options);
  const TextChoice choice(dataset, false, true);
  const Tokenizer& t = *tiny_tokenizer();
  for (int step = 0; step < 12; ++step) {
    const Batch batch = loader.next();
    const Content c = content(batch);
    const int64_t length = c.lengths[0];
    size_t longest = 0, guessed = 0;
    for (size_t i = 0; i < c.samples.size(); ++i) {
      const uint64_t key = uint64_t(data<int64_t>(batch.keys)[i]);
      const Ids own = t.encode(choice.words(choice.own(c.samples[i], key)));
      const auto judged = choice.judged(c.samples[i], key);
      const Ids pair = t.encode(choice.words(judged.text));
      EXPECT_EQ(tokens_of(c.ids, c.mask, i, length), own);
      EXPECT_EQ(tokens_of(c.pair_ids, c.pair_mask, i, length), pair);
      EXPECT_EQ(c.pair_labels[i], judged.matches);
      MaskedText masked = mask_tokens(own, t, key);
      masked.ids.resize(size_t(length), t.pad()), masked.labels.resize(size_t(length), -100);
      const auto row = std::ptrdiff_t(i) * length;
      EXPECT_EQ(Ids(c.masked_ids.begin() + row, c.masked_ids.begin() + row + length), masked.ids);
      EXPECT_EQ(Ids(c.masked_labels.begin() + row, c.masked_labels.begin() + row + length), masked.labels);
      guessed += size_t(std::count_if(masked.labels.begin(), masked.labels.end(), [](int l) { return l >= 0; }));
      longest = std::max({longest, own.size(), pair.size()});
    }
    EXPECT_EQ(length, align_up(int64_t(longest), 8));
    EXPECT_EQ(c.step_masked, int64_t(guessed));
    EXPECT_EQ(c.step_samples, batch.size());
    EXPECT_EQ(batch.storage->bytes(), batch_bytes(options));
  }
}

TEST_F(LoaderTextTest, AnyNumberOfWorkersGivesTheSameBatches) {
  make(23, 1, {2, 11});
  options.accumulate = 2, options.rank = 1, options.ranks = 2;
  const auto reference = read(options, 15);
  for (int workers : {1, 4}) {
    options.workers = workers;
    EXPECT_EQ(read(options, 15), reference) << workers;
  }
}

TEST_F(LoaderTextTest, ResumingAtAnyStepContinuesTheSameBatches) {
  make(23, 1, {4});
  options.accumulate = 2;
  const auto reference = read(options, 18);
  for (int64_t step = 0; step < 9; ++step) {
    options.workers = int(step % 3);
    const auto rest = read(options, int(18 - 2 * step), step);
    EXPECT_TRUE(std::equal(rest.begin(), rest.end(), reference.begin() + 2 * step)) << step;
  }
}

TEST_F(LoaderTextTest, ContentAndLengthDoNotDependOnRanksAndPasses) {
  make(23);
  const auto reference = steps(1, 1, 8, 6);  // two epochs of 8 + 8 + 7
  EXPECT_EQ(reference[0].samples.size(), 8u);
  EXPECT_EQ(reference[2].samples.size(), 7u);
  EXPECT_EQ(reference[2].step_samples, 7);
  int64_t shortest = 1000, longest = 0;
  for (const Content& c : reference)
    shortest = std::min(shortest, c.lengths[0]), longest = std::max(longest, c.lengths[0]);
  EXPECT_LT(shortest, longest);
  for (auto [ranks, accumulate, batch_size] :
       {std::array{2, 1, 4}, {4, 1, 2}, {8, 1, 1}, {1, 2, 4}, {1, 8, 1}, {2, 2, 2}, {2, 4, 1}})
    EXPECT_EQ(steps(ranks, accumulate, batch_size, 6), reference) << ranks << " ranks, " << accumulate << " passes";
}

TEST_F(LoaderTextTest, LengthIsRoundedFixedOrCut) {
  make(23);
  auto lengths = [&] {
    std::vector<int64_t> all;
    for (const Content& c : read(options, 6)) all.push_back(c.lengths[0]);
    return all;
  };
  options.text.round_to = 16;
  for (int64_t length : lengths()) EXPECT_EQ(length % 16, 0);
  options.text.fixed = true;
  for (int64_t length : lengths()) EXPECT_EQ(length, 40);
  options.text = text_options(*dataset, 9);
  bool cut = false;
  for (const Content& c : read(options, 6)) {
    EXPECT_TRUE(c.lengths[0] == 8 || c.lengths[0] == 9);  // no multiple of eight: the longest there may be
    for (size_t i = 0; i < c.samples.size(); ++i) {
      const Ids tokens = tokens_of(c.ids, c.mask, i, c.lengths[0]);
      EXPECT_EQ(tokens.back(), tiny_tokenizer()->eos());
      cut |= tokens.size() == 9;
    }
    EXPECT_TRUE(c.pair_ids.empty() && c.masked_ids.empty() && c.step_masked == 0);
  }
  EXPECT_TRUE(cut);
}

TEST_F(LoaderTextTest, WithoutShufflingAndAugmentationTheFirstTextIsTaken) {
  make(23);
  const TextChoice first(dataset, true, true);
  options.augment = Augment::none, options.shuffle = false;
  auto all_first = [&] {
    Loader loader(dataset, options);
    for (int step = 0; step < 12; ++step) {
      const Batch b = loader.next();
      const Content c = content(b);
      for (size_t i = 0; i < c.samples.size(); ++i)
        if (tokens_of(c.ids, c.mask, i, c.lengths[0]) != tiny_tokenizer()->encode(dataset->texts(c.samples[i])[0]))
          return false;
    }
    return true;
  };
  EXPECT_TRUE(all_first());
  options.shuffle = true;
  EXPECT_FALSE(all_first());
  options.shuffle = false, options.augment = Augment::standard;
  EXPECT_FALSE(all_first());
}

TEST_F(LoaderTextTest, LabelledPairsAreJudgedAsTheyAre) {
  make(1);
  std::string lines;
  for (int i = 0; i < 12; ++i)
    lines +=
        fmt::format(R"({{"image": "000.jpg", "text": "{}", "label": {}}})", numbered_text(i, 0, i), int(i % 3 == 0)) +
        "\n";
  write_bytes(folder / "pairs.jsonl", lines);
  dataset = open_texts((folder / "pairs.jsonl").string(), Split::train);
  options.text = text_options(*dataset);
  options.text.pairs = true;
  for (const Content& c : read(options, 3)) {
    EXPECT_EQ(c.ids, c.pair_ids);
    for (size_t i = 0; i < c.samples.size(); ++i) EXPECT_EQ(c.pair_labels[i], c.samples[i] % 3 == 0);
  }
}

// The first row has a short text and no image; those of `fitting` are as short, all others long.
class LoaderSubstituteTest : public LoaderTextTest {
 protected:
  void make_with(std::vector<int> fitting) {
    make(20, 1, {0});
    std::string lines;
    for (int i = 0; i < 20; ++i) {
      const bool is_short = i == 0 || std::find(fitting.begin(), fitting.end(), i) != fitting.end();
      lines +=
          fmt::format(R"({{"image": "{:03}.jpg", "text": "{}"}})", i, numbered_text(i, 0, is_short ? 0 : 20)) + "\n";
    }
    write_bytes(folder / "captions.jsonl", lines);
    dataset = open_texts(folder.path().string(), Split::train);
    options.text = text_options(*dataset);
    options.batch_size = 1, options.shuffle = false;
  }
};

TEST_F(LoaderSubstituteTest, OneWhoseTextFitsIsPreferred) {
  make_with({7});
  for (const Content& c : {read(options, 1)[0], read(options, 21)[20]}) {
    EXPECT_EQ(c.samples, std::vector<int64_t>{7});
    EXPECT_EQ(c.lengths[0], 8);
  }
}

TEST_F(LoaderSubstituteTest, ItsTextIsCutWhereNoneFits) {
  make_with({});
  const Content c = read(options, 1)[0];
  EXPECT_GT(c.samples[0], 0);
  EXPECT_EQ(c.lengths[0], 8);
  EXPECT_EQ(c.ids, tiny_tokenizer()->encode(dataset->texts(c.samples[0])[0], 8));
  EXPECT_EQ(c.mask, Ids(8, 1));
}

TEST_F(LoaderTextTest, AnEvaluationIsPaddedToItsOwnLongestAndClosesGaps) {
  make(23, 1, {0, 5, 8, 9});
  options.pass = Pass::evaluation, options.augment = Augment::none, options.text.sizes = nullptr;
  const TextChoice choice(dataset, true, true);
  std::vector<Content> reference;
  for (int workers : {0, 3}) {
    options.workers = workers;
    Loader loader(dataset, options);
    for (int round = 0; round < 2; ++round) {
      std::vector<Content> all;
      std::vector<int64_t> seen;
      while (!loader.done()) {
        const Content c = all.emplace_back(content(loader.next()));
        size_t longest = 0;
        for (size_t i = 0; i < c.samples.size(); ++i) {
          const Ids own = tiny_tokenizer()->encode(dataset->texts(c.samples[i])[0]),
                    pair = tokens_of(c.pair_ids, c.pair_mask, i, c.lengths[0]);
          EXPECT_EQ(tokens_of(c.ids, c.mask, i, c.lengths[0]), own);
          const auto judged = choice.judged(c.samples[i], sample_key(5, 0, uint64_t(c.samples[i])));
          EXPECT_EQ(pair, tiny_tokenizer()->encode(choice.words(judged.text)));
          EXPECT_EQ(c.pair_labels[i], judged.matches);
          longest = std::max({longest, own.size(), pair.size()});
          seen.push_back(c.samples[i]);
        }
        EXPECT_EQ(c.lengths[0], align_up(int64_t(longest), 8));
      }
      EXPECT_EQ(seen.size(), 19u);
      if (reference.empty()) reference = all;
      EXPECT_EQ(all, reference);
      loader.restart();
    }
  }
}

TEST_F(LoaderTextTest, TheTableIsMadeInSlices) {
  make(23, 2);
  const Tokenizer& t = *tiny_tokenizer();
  const auto whole = text_sizes(*dataset, t, 40, {0, 23});
  size_t at = 0;
  for (int64_t i = 0; i < 23; ++i)
    for (const auto& text : dataset->texts(i)) {
      const Ids ids = t.encode(text, 40);
      EXPECT_EQ(whole[at++], (TextSize{uint16_t(ids.size()), uint16_t(ids.size() - 2)}));
    }
  EXPECT_EQ(at, whole.size());
  std::vector<TextSize> joined;
  for (int64_t rank = 0; rank < 5; ++rank) {
    const auto part = text_sizes(*dataset, t, 40, split_evenly(23, rank, 5), int(rank));
    joined.insert(joined.end(), part.begin(), part.end());
  }
  EXPECT_EQ(joined, whole);
  options.text.sizes = std::make_shared<std::vector<TextSize>>(whole.begin(), whole.end() - 1);
  EXPECT_NE(message_of([&] { Loader(dataset, options); }, Exit::crash).find("not that of the texts"),
            std::string::npos);
}

TEST_F(LoaderTextTest, AVeryLongTextIsCut) {
  make(2);
  std::string words;
  while (words.size() < (10u << 20)) words += "a cat ";
  write_bytes(folder / "long.jsonl", fmt::format(R"({{"image": "000.jpg", "text": "{}"}})", words) + "\n" +
                                         R"({"image": "001.jpg", "text": "short"})");
  dataset = open_texts((folder / "long.jsonl").string(), Split::train);
  options.text = text_options(*dataset);
  EXPECT_EQ(read(options, 1)[0].lengths[0], 40);
}

TEST(TextData, RealCaptionsHaveTheirLengths) {
  if (photo_folder().empty()) GTEST_SKIP() << "VIADUCT_DATA is not set";
  Log log;
  DatasetPtr data = open_text_rows((photo_folder() / "captions").string());
  auto tokenizer = Tokenizer::load((photo_folder() / "tokenizer").string());
  auto sizes = text_sizes(*data, *tokenizer, 50, {0, data->size()}, 2);
  std::sort(sizes.begin(), sizes.end(), [](TextSize a, TextSize b) { return a.tokens < b.tokens; });
  EXPECT_EQ(sizes[sizes.size() / 2].tokens, 14);
  EXPECT_EQ(sizes.back().tokens, 32);
}

}  // namespace
}  // namespace viaduct::test
