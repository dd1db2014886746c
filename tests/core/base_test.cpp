#include <gtest/gtest.h>

#include "core/base/range.hpp"
#include "tests/support/messages.hpp"

namespace viaduct::test {
namespace {

struct AsRank {
  explicit AsRank(int rank) : before(log::identity()) { log::set_identity({rank, 4, "node7"}); }
  ~AsRank() { log::set_identity(before); }
  log::Identity before;
};

TEST(Log, InformationIsSaidByRankZeroAlone) {
  Log log;
  for (int rank : {0, 1}) {
    AsRank as(rank);
    log::info("step {}", rank);
  }
  EXPECT_EQ(log.text, "step 0\n");
}

TEST(Log, WarningsAndErrorsNameRankAndHost) {
  Log log;
  {
    AsRank as(3);
    log::warn("{} is late", "x");
    log::error("{} is lost", "y");
  }
  log::warn("alone");
  EXPECT_EQ(log.text,
            "viaduct: [rank 3 on node7] warning: x is late\nviaduct: [rank 3 on node7] error: y is lost\n"
            "viaduct: warning: alone\n");
}

TEST(Errors, CarryTheirExitCodeAndPlace) {
  auto line = std::source_location::current().line() + 2;
  try {
    fail_config("no such key");
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Exit::config);
    EXPECT_EQ(e.where().line(), line);
    EXPECT_STREQ(e.what(), "no such key");
  }
  EXPECT_EQ(message_of([] { fail_input("damaged"); }, Exit::input), "damaged");
  EXPECT_EQ(message_of([] { expect(false, "a promise"); }, Exit::crash), "a promise");
  EXPECT_EQ(message_of([] { expect(true, "a promise"); }), "no error");
}

TEST(Range, PartsCoverTheWholeInOrderAndDifferByOneAtMost) {
  for (int64_t n : {0, 1, 7, 64, 1000003})
    for (int64_t parts : {1, 2, 3, 8, 100}) {
      int64_t reached = 0, shortest = n, longest = 0;
      for (int64_t i = 0; i < parts; ++i) {
        Range r = split_evenly(n, i, parts);
        ASSERT_EQ(r.begin, reached);
        reached = r.end, shortest = std::min(shortest, r.size()), longest = std::max(longest, r.size());
      }
      EXPECT_EQ(reached, n);
      EXPECT_LE(longest - shortest, 1);
    }
}

TEST(Range, ContainsAndOverlaps) {
  Range r{10, 20};
  EXPECT_TRUE(r.contains({10, 20}));
  EXPECT_FALSE(r.contains({9, 12}));
  EXPECT_FALSE(r.contains({19, 21}));
  EXPECT_TRUE(r.overlaps({19, 30}));
  EXPECT_FALSE(r.overlaps({20, 30}));
  EXPECT_FALSE(r.overlaps({0, 10}));
  EXPECT_TRUE((Range{5, 5}).empty());
  EXPECT_EQ(align_up(65, 64), 128);
  EXPECT_EQ(align_up(64, 64), 64);
  EXPECT_EQ(ceil_div(65, 64), 2);
}

}  // namespace
}  // namespace viaduct::test
