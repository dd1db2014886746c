#include "data/sampler.hpp"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>
#include <vector>

namespace viaduct::test {
namespace {

std::vector<int64_t> order(const Sampler& sampler, uint64_t epoch) {
  std::vector<int64_t> all;
  for (int64_t p = 0; p < sampler.size(); ++p) all.push_back(sampler.at(epoch, p));
  return all;
}

TEST(Sampler, IsAPermutationForEverySize) {
  std::vector<int64_t> sizes(300);
  std::iota(sizes.begin(), sizes.end(), 1);
  for (int64_t n : {1000, 4095, 4096, 4097, 65537, 100003}) sizes.push_back(n);
  for (int64_t n : sizes) {
    std::vector<int64_t> all = order(Sampler(n, 42, true), 3);
    std::sort(all.begin(), all.end());
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(all[size_t(i)], i) << "of " << n;
  }
}

TEST(Sampler, IsTheIdentityWithoutShuffling) {
  const Sampler sampler(100, 42, false);
  for (int64_t p = 0; p < 100; ++p) EXPECT_EQ(sampler.at(5, p), p);
}

TEST(Sampler, DependsOnSeedAndEpochAlone) {
  EXPECT_EQ(order(Sampler(1000, 1, true), 2), order(Sampler(1000, 1, true), 2));
  EXPECT_NE(order(Sampler(1000, 1, true), 2), order(Sampler(1000, 1, true), 3));
  EXPECT_NE(order(Sampler(1000, 1, true), 2), order(Sampler(1000, 2, true), 2));
}

TEST(Sampler, EveryOrderOfFewSamplesIsEquallyLikely) {
  for (int64_t n : {2, 3, 4, 5, 6}) {
    const Sampler sampler(n, 7, true);
    std::map<std::vector<int64_t>, int> seen;
    const int orders = int(std::tgamma(double(n) + 1) + 0.5), draws = 200 * orders;
    for (int epoch = 0; epoch < draws; ++epoch) ++seen[order(sampler, uint64_t(epoch))];
    ASSERT_EQ(int(seen.size()), orders) << n;
    double chi_squared = 0;
    for (const auto& [each, count] : seen) chi_squared += (count - 200) * (count - 200) / 200.0;
    EXPECT_LT(chi_squared, orders - 1 + 4 * std::sqrt(2.0 * orders)) << n;
  }
}

TEST(Sampler, NeighboursAreScattered) {
  constexpr int64_t kSize = 1000, kEpochs = 200, kBuckets = 10;
  const Sampler sampler(kSize, 11, true);
  for (int64_t position : {0, 1, 500, 999}) {
    std::vector<double> hits(kBuckets);
    int adjacent = 0;
    for (uint64_t epoch = 0; epoch < kEpochs; ++epoch) {
      const int64_t here = sampler.at(epoch, position), next = sampler.at(epoch, (position + 1) % kSize);
      hits[size_t(here * kBuckets / kSize)] += 1;
      adjacent += std::abs(here - next) == 1;
    }
    double chi_squared = 0;
    for (double h : hits) chi_squared += (h - kEpochs / kBuckets) * (h - kEpochs / kBuckets) / (kEpochs / kBuckets);
    EXPECT_LT(chi_squared, 30) << position;
    EXPECT_LE(adjacent, 4) << position;
  }
}

TEST(BatchPlan, RanksCoverEachPositionOnceAndInOrder) {
  for (int64_t samples : {1, 2, 7, 8, 9, 31, 64, 100})
    for (int64_t ranks : {1, 2, 3, 5})
      for (int64_t batch_size : {1, 3, 8})
        for (int64_t accumulate : {1, 2}) {
          const BatchPlan plan{samples, batch_size, accumulate, ranks};
          int64_t next = 0;
          for (int64_t step = 0; step < plan.steps_per_epoch(); ++step) {
            EXPECT_EQ(plan.samples_before(step), next);
            for (int64_t rank = 0; rank < ranks; ++rank)
              for (int64_t m = 0; m < accumulate; ++m) {
                const Range piece = plan.micro_batch(step, rank, m);
                EXPECT_LE(piece.size(), batch_size);
                if (piece.empty()) continue;
                EXPECT_EQ(piece.begin, next);
                next = piece.end;
              }
          }
          EXPECT_EQ(next, samples);
          EXPECT_EQ(plan.samples_before(plan.steps_per_epoch()), samples);
          EXPECT_EQ(plan.micro_batch(plan.steps_per_epoch(), 0, 0), plan.micro_batch(0, 0, 0));
        }
}

TEST(BatchPlan, GlobalBatchesDoNotDependOnTheNumberOfRanks) {
  const BatchPlan one{100, 8, 1, 1}, two{100, 4, 1, 2}, four{100, 2, 1, 4}, accumulated{100, 2, 2, 2};
  for (int64_t step = 0; step < one.steps_per_epoch(); ++step) {
    const Range whole = one.micro_batch(step, 0, 0);
    for (const BatchPlan& plan : {two, four, accumulated}) {
      EXPECT_EQ(plan.steps_per_epoch(), one.steps_per_epoch());
      EXPECT_EQ(plan.micro_batch(step, 0, 0).begin, whole.begin);
      EXPECT_EQ(plan.micro_batch(step, plan.ranks - 1, plan.accumulate - 1).end, whole.end);
    }
  }
}

}  // namespace
}  // namespace viaduct::test
