#include "core/base/philox.hpp"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace viaduct {
namespace {

std::vector<uint32_t> words(Philox p) { return {p.v[0], p.v[1], p.v[2], p.v[3]}; }

// The known answers of Random123 for philox4x32 with 10 rounds.
TEST(Philox, KnownAnswers) {
  using Words = std::vector<uint32_t>;
  EXPECT_EQ(words(philox(0, 0, 0)), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(words(philox(~0ull, ~0ull, ~0ull)), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(words(philox(0x299f31d0a4093822, 0x85a308d3243f6a88, 0x0370734413198a2e)),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, UniformIsBelowOneAndExact) {
  EXPECT_EQ(uniform(0), 0.0f);
  EXPECT_EQ(uniform(0xffffffff), 1.0f - 0x1p-24f);
  EXPECT_EQ(uniform(0x80000000), 0.5f);
}

TEST(RandomSequence, IsAFunctionOfKeyAndPurpose) {
  auto draws = [](uint64_t key, Draw purpose, uint32_t extra = 0) {
    RandomSequence sequence(key, purpose, extra);
    std::vector<uint32_t> v;
    for (int i = 0; i < 9; ++i) v.push_back(sequence.bits());
    return v;
  };
  auto base = draws(5, Draw::crop);
  EXPECT_EQ(base, draws(5, Draw::crop));
  for (const auto& other : {draws(6, Draw::crop), draws(5, Draw::flip), draws(5, Draw::crop, 1)})
    EXPECT_NE(base, other);
  EXPECT_EQ(std::set<uint32_t>(base.begin(), base.end()).size(), base.size());
}

TEST(RandomSequence, SamplesDoNotShareKeys) {
  std::set<uint64_t> keys;
  for (uint64_t seed : {0, 1, 42})
    for (uint64_t epoch = 0; epoch < 3; ++epoch)
      for (uint64_t sample = 0; sample < 100; ++sample) keys.insert(sample_key(seed, epoch, sample));
  EXPECT_EQ(keys.size(), 3u * 3 * 100);
}

TEST(RandomSequence, NumbersAreSpreadEvenly) {
  RandomSequence random(42, Draw::shuffle);
  std::vector<int> counts(10);
  double sum = 0;
  for (int i = 0; i < 100000; ++i) {
    ++counts[random.below(10)];
    double u = random.uniform(-1, 1);
    ASSERT_TRUE(u >= -1 && u < 1);
    sum += u;
  }
  // Four standard deviations: of a count sqrt(100000 x 0.09), of the sum sqrt(100000 / 3).
  for (int c : counts) EXPECT_NEAR(c, 10000, 4 * 95);
  EXPECT_NEAR(sum, 0, 4 * 183);
}

}  // namespace
}  // namespace viaduct
