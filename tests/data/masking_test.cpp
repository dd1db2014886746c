#include "data/masking.hpp"

#include <gtest/gtest.h>

#include <set>

#include "core/ops/loss.hpp"
#include "tests/data/text_tools.hpp"

namespace viaduct::test {
namespace {

// So many tokens that none of them is special, between <s> and </s>, and special ones among them.
std::vector<int32_t> some_ids(const Tokenizer& t) {
  std::vector<int32_t> ids{t.bos()};
  for (int32_t i = 0; i < 100; ++i) ids.push_back(4 + i);
  ids.insert(ids.begin() + 50, {t.mask(), t.unk(), t.pad(), t.eos(), t.bos()});
  ids.push_back(t.eos());
  return ids;
}

TEST(Masking, FollowsTheProbabilitiesOfTheCollator) {
  const Tokenizer& t = *tiny_tokenizer();
  const auto ids = some_ids(t);
  ASSERT_EQ(maskable_tokens(ids, t), 100);
  constexpr int kTexts = 2000;
  int chosen = 0, hidden = 0, kept = 0;
  std::vector<int> at(ids.size());
  std::set<int32_t> others;
  for (uint64_t key = 0; key < kTexts; ++key) {
    const MaskedText m = mask_tokens(ids, t, key);
    ASSERT_EQ(m.ids.size(), ids.size());
    ASSERT_EQ(m.labels.size(), ids.size());
    int here = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (m.labels[i] == ops::kIgnoredLabel) {
        EXPECT_EQ(m.ids[i], ids[i]);
        continue;
      }
      EXPECT_EQ(m.labels[i], ids[i]);
      ++here, ++at[i];
      hidden += m.ids[i] == t.mask(), kept += m.ids[i] == ids[i];
      if (m.ids[i] != t.mask() && m.ids[i] != ids[i]) others.insert(m.ids[i]);
    }
    EXPECT_EQ(masked_tokens(100, key), here);
    chosen += here;
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    const bool special = i == 0 || (i >= 50 && i < 55) || i + 1 == ids.size();
    EXPECT_NEAR(at[i], special ? 0 : 300, special ? 0 : 5 * 16) << i;  // five standard deviations
  }
  EXPECT_NEAR(chosen, 30000, 5 * 160);
  EXPECT_NEAR(hidden, 0.8 * chosen, 5 * 70);
  EXPECT_NEAR(kept, 0.1 * chosen, 5 * 52 + 10);  // a token drawn at random may be the same
  EXPECT_GT(others.size(), size_t(t.vocab_size()) * 9 / 10);
  EXPECT_LT(*others.rbegin(), t.vocab_size());
}

TEST(Masking, ATextMayHaveNothingHidden) {
  const Tokenizer& t = *tiny_tokenizer();
  const std::vector<int32_t> empty{t.bos(), t.eos()};
  EXPECT_EQ(mask_tokens(empty, t, 1).labels, (std::vector<int32_t>{ops::kIgnoredLabel, ops::kIgnoredLabel}));
  EXPECT_EQ(masked_tokens(0, 1), 0);
  int nothing = 0;
  for (uint64_t key = 0; key < 1000; ++key) nothing += masked_tokens(2, key) == 0;
  EXPECT_NEAR(nothing, 722, 5 * 15);  // 0.85 squared
}

TEST(Masking, IsAFunctionOfTheKey) {
  const Tokenizer& t = *tiny_tokenizer();
  const auto ids = some_ids(t);
  EXPECT_EQ(mask_tokens(ids, t, 7).ids, mask_tokens(ids, t, 7).ids);
  EXPECT_NE(mask_tokens(ids, t, 7).labels, mask_tokens(ids, t, 8).labels);
}

}  // namespace
}  // namespace viaduct::test
