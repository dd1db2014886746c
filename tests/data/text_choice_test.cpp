#include "data/text_choice.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "core/base/philox.hpp"
#include "tests/data/text_tools.hpp"
#include "tests/support/messages.hpp"

namespace viaduct::test {
namespace {

class TextChoiceTest : public testing::Test {
 protected:
  DatasetPtr open(const std::string& lines) {
    write_bytes(folder / "captions.jsonl", lines);
    return open_texts(folder.path().string(), Split::train);
  }
  static std::string row(const std::string& image, const std::string& texts, const char* more = "") {
    return fmt::format(R"({{"image": "{}", "captions": [{}]{}}})", image, texts, more) + "\n";
  }
  TempFolder folder;
  Log log;
};

TEST_F(TextChoiceTest, ATextIsDrawnPerEpochOrTheFirstIsTaken) {
  DatasetPtr data = open(row("a.jpg", R"("0", "1", "2", "3", "4")") + row("b.jpg", "\"only\""));
  const TextChoice drawn(data, false, false), first(data, true, false);
  std::map<int64_t, int> counts;
  for (uint64_t epoch = 0; epoch < 1000; ++epoch) {
    const uint64_t key = sample_key(5, epoch, 0);
    ++counts[drawn.own(0, key).index];
    EXPECT_EQ(drawn.own(0, key), drawn.own(0, key));
    EXPECT_EQ(first.own(0, key).index, 0);
    EXPECT_EQ(drawn.words(drawn.own(1, key)), "only");
  }
  ASSERT_EQ(counts.size(), 5u);
  for (auto [index, count] : counts) EXPECT_NEAR(count, 200, 5 * 12.7) << index;
}

TEST_F(TextChoiceTest, HalfOfThePairsAreMismatchesWithTextsOfOtherImages) {
  std::string lines;  // eight images, each in three rows
  for (int i = 0; i < 24; ++i)
    lines += row(fmt::format("{}{}.jpg", i % 3 ? "" : "./", i / 3), fmt::format("\"{0}\", \"{0}b\"", i));
  DatasetPtr data = open(lines);
  const TextChoice choice(data, false, true);
  int matches = 0, total = 0, seconds = 0;
  std::map<int64_t, int> others;
  for (uint64_t epoch = 0; epoch < 200; ++epoch)
    for (int64_t sample = 0; sample < data->size(); ++sample, ++total) {
      const uint64_t key = sample_key(5, epoch, uint64_t(sample));
      const auto [text, label] = choice.judged(sample, key);
      matches += label;
      if (label) {
        EXPECT_EQ(text, choice.own(sample, key));
        continue;
      }
      EXPECT_NE(data->image(text.sample), data->image(sample));
      if (sample == 0) ++others[text.sample];
      seconds += text.index == 1;
    }
  EXPECT_NEAR(matches, total / 2, 5 * 35);
  EXPECT_NEAR(seconds, (total - matches) / 2, 5 * 25);
  EXPECT_GT(others.size(), 18u);  // of the 21 rows of other images
}

TEST_F(TextChoiceTest, AMismatchIsFoundAmongManyRowsOfOneImage) {
  std::string lines;
  for (int i = 0; i < 2000; ++i) lines += row(i == 1234 ? "other.jpg" : "same.jpg", fmt::format("\"{}\"", i));
  const TextChoice choice(open(lines), false, true);
  int mismatches = 0;
  for (int64_t sample = 0; sample < 1000; ++sample)
    if (auto judged = choice.judged(sample, sample_key(5, 0, uint64_t(sample))); !judged.matches) {
      ++mismatches;
      EXPECT_EQ(judged.text.sample, 1234);
    }
  EXPECT_NEAR(mismatches, 500, 5 * 16);
}

TEST_F(TextChoiceTest, AMismatchSaysSomethingElseWhereItCan) {
  std::string lines;
  for (int i = 0; i < 40; ++i) lines += row(fmt::format("{}.jpg", i), i % 2 ? "\"a cat\"" : "\"a dog\"");
  DatasetPtr data = open(lines);
  const TextChoice choice(data, true, true);
  for (int64_t sample = 0; sample < 40; ++sample)
    for (uint64_t epoch = 0; epoch < 20; ++epoch)
      if (auto judged = choice.judged(sample, sample_key(5, epoch, uint64_t(sample))); !judged.matches) {
        EXPECT_NE(choice.words(judged.text), data->texts(sample)[0]);
      }

  lines.clear();
  for (int i = 0; i < 3; ++i) lines += row(fmt::format("{}.jpg", i), "\"a cat\"");
  data = open(lines);
  const TextChoice alike(data, true, true);
  for (uint64_t epoch = 0; epoch < 20; ++epoch)
    if (auto judged = alike.judged(1, sample_key(5, epoch, 1)); !judged.matches) {
      EXPECT_NE(data->image(judged.text.sample), data->image(1));
    }
}

TEST_F(TextChoiceTest, LabelsOfTheDataAreKept) {
  const TextChoice choice(open(row("a.jpg", "\"x\"", R"(, "label": 0)") + row("a.jpg", "\"y\"", R"(, "label": 1)")),
                          false, true);
  for (uint64_t epoch = 0; epoch < 50; ++epoch)
    for (int64_t sample : {0, 1}) {
      const auto [text, label] = choice.judged(sample, sample_key(5, epoch, uint64_t(sample)));
      EXPECT_EQ(text, (TextChoice::Text{sample, 0}));
      EXPECT_EQ(label, sample);
    }
}

TEST_F(TextChoiceTest, ASingleImageHasNoMismatches) {
  DatasetPtr data = open(row("a.jpg", "\"x\"") + row("./a.jpg", "\"y\""));
  EXPECT_NE(message_of([&] { TextChoice(data, false, true); }).find("only one image"), std::string::npos);
  TextChoice(data, false, false);
}

}  // namespace
}  // namespace viaduct::test
