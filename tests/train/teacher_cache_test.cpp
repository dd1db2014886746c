// The cache of a teacher's answers by itself: what it gives back, and what it does with files that are not its own.
#include "train/teacher_cache.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/base/log.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/temp_folder.hpp"

namespace viaduct::test {
namespace {

using testing::HasSubstr;
using Floats = std::vector<float>;

// Samples `first`, first + 1, .. with pixels of their own, in epoch `epoch`.
struct Images {
  Images(int64_t first, int64_t count, int64_t epoch = 0, uint8_t shade = 0) {
    pixels.resize(size_t(count * 12));
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t k = 0; k < 12; ++k) pixels[size_t(i * 12 + k)] = uint8_t(first + i + k + epoch + shade);
      batch.samples.push_back(first + i), keys.push_back(1000 * epoch + first + i);
    }
    batch.pixels = {pixels.data(), {count, 2, 2, 3}, DType::u8, Device::cpu()};
    batch.keys = {keys.data(), {count}, DType::i64, Device::cpu()};
  }
  Images(Images&&) = delete;
  Batch batch;
  std::vector<uint8_t> pixels;
  std::vector<int64_t> keys;
};

class TeacherCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    log::set_sink([this](const std::string& line) { said_ += line + "\n"; });
  }
  void TearDown() override { log::set_sink({}); }

  TeacherCache open(StoredAnswer stored = {}, const std::string& about = "teacher: a\n", int64_t classes = 4) {
    return TeacherCache(folder_.path() / "cache", about, classes, stored, true);
  }
  static Tensor rows(Floats& v, int64_t classes = 4) {
    return {v.data(), {int64_t(v.size()) / classes, classes}, DType::f32, Device::cpu()};
  }
  Path only_file() {
    auto files = std::filesystem::directory_iterator(folder_.path() / "cache");
    return files->path();
  }

  TempFolder folder_;
  std::string said_;
  Floats answers_{0.1f, -2, 3, 1e-20f, 5, 6, 7, 8.5f};
};

TEST_F(TeacherCacheTest, GivesBackTheBitsThatItWasGiven) {
  Images two(3, 2), other(3, 2, 1);
  Floats given = answers_, found(8);
  {
    TeacherCache cache = open();
    EXPECT_FALSE(cache.find(two.batch, rows(found)));
    cache.add(two.batch, rows(given));
    EXPECT_EQ(given, answers_);
    EXPECT_TRUE(cache.find(two.batch, rows(found))) << "before it is on the disk";
    EXPECT_EQ(found, answers_);
  }
  TeacherCache cache = open();
  found.assign(8, 0);
  EXPECT_TRUE(cache.find(two.batch, rows(found)));
  EXPECT_EQ(found, answers_);
  EXPECT_FALSE(cache.find(other.batch, rows(found))) << "another augmentation";
  EXPECT_EQ(cache.found(), 2);
  EXPECT_EQ(cache.asked(), 4);
}

TEST_F(TeacherCacheTest, OthersSeeWhatIsFlushed) {
  TeacherCache mine = open(), theirs = open();
  Images one(0, 2), third(7, 2);
  Floats given = answers_, found(8);
  mine.add(one.batch, rows(given));
  EXPECT_FALSE(theirs.find(one.batch, rows(found)));
  mine.flush();
  EXPECT_TRUE(theirs.find(one.batch, rows(found)));
  EXPECT_EQ(found, answers_);
  EXPECT_FALSE(theirs.find(third.batch, rows(found)));
}

TEST_F(TeacherCacheTest, RoundsHitsAndMissesAlike) {
  for (StoredAnswer stored :
       {StoredAnswer{.dtype = DType::bf16}, StoredAnswer{.top_k = 2}, StoredAnswer{.dtype = DType::bf16, .top_k = 3}}) {
    std::filesystem::remove_all(folder_.path() / "cache");
    Images two(0, 2);
    Floats given = answers_, found(8);
    {
      TeacherCache cache = open(stored);
      cache.add(two.batch, rows(given));
    }
    EXPECT_NE(given, answers_);
    TeacherCache cache = open(stored);
    ASSERT_TRUE(cache.find(two.batch, rows(found)));
    EXPECT_EQ(found, given);
  }
}

// TinyViT: what the others have together is shared out evenly.
TEST_F(TeacherCacheTest, TheRestOfTheProbabilityIsShared) {
  Images one(0, 1);
  Floats given{1, 4, -1, 2.5f};
  TeacherCache cache = open({.top_k = 2});
  double sum = 0, rest = std::exp(1.0) + std::exp(-1.0);
  for (float z : given) sum += std::exp(double(z));
  cache.add(one.batch, rows(given));
  EXPECT_EQ(given[1], 4);
  EXPECT_EQ(given[3], 2.5f);
  EXPECT_EQ(given[0], given[2]);
  EXPECT_NEAR(std::exp(double(given[0])) / sum, rest / 2 / sum, 1e-7);
}

TEST_F(TeacherCacheTest, RefusesWhatAnotherTeacherSaid) {
  Images two(0, 2);
  {
    TeacherCache cache = open();
    cache.add(two.batch, rows(answers_));
  }
  EXPECT_THAT(message_of([&] { open({}, "teacher: b\n"); }, Exit::config),
              HasSubstr("was made with 'teacher: a', and this run has 'teacher: b'; choose another folder"));
  EXPECT_THAT(message_of([&] { open({.top_k = 1}); }, Exit::config),
              HasSubstr("was made with 'kept: 4 of 4 logits in fp32', and this run has 'kept: 1 of 4 logits in fp32'"));
  EXPECT_THAT(message_of([&] { open({}, "teacher: a\n", 5); }, Exit::config), HasSubstr("'kept: 5 of 5"));
}

TEST_F(TeacherCacheTest, OtherPixelsAreAskedAgain) {
  Images before(0, 2), now(0, 2, 0, 9);
  Floats given = answers_, found(8);
  {
    TeacherCache cache = open();
    cache.add(before.batch, rows(given));
  }
  TeacherCache cache = open();
  EXPECT_FALSE(cache.find(now.batch, rows(found)));
  EXPECT_THAT(said_, HasSubstr("sample 0 has other pixels now; the teacher is asked again"));
  given = {9, 9, 9, 9, 8, 8, 8, 8};
  cache.add(now.batch, rows(given));
  ASSERT_TRUE(cache.find(now.batch, rows(found)));
  EXPECT_EQ(found, given);
}

// Every byte of the file, one after the other: no wrong answer comes out of it.
TEST_F(TeacherCacheTest, DamageIsFound) {
  Images two(0, 2);
  {
    TeacherCache cache = open();
    cache.add(two.batch, rows(answers_));
  }
  const Path path = only_file();
  const std::string whole = read_bytes(path);
  int found_whole = 0, asked_again = 0, refused = 0;
  for (size_t at = 0; at<whole.size(); at += whole.size()> 4000 ? 3 : 1) {
    std::string damaged = whole;
    damaged[at] = char(damaged[at] ^ 0x10);
    write_bytes(path, damaged);
    Floats found(8);
    try {
      TeacherCache cache = open();
      if (cache.find(two.batch, rows(found))) {
        EXPECT_EQ(found, answers_) << "byte " << at;
        ++found_whole;
      } else {
        ++asked_again;
      }
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Exit::config) << e.what();
      ++refused;
    }
  }
  EXPECT_GT(asked_again, 20);
  EXPECT_GT(refused, 5);
  EXPECT_GT(found_whole, 20);
}

}  // namespace
}  // namespace viaduct::test
