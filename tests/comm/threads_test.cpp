#include <gtest/gtest.h>
#include <sched.h>

#include "comm/threads.hpp"
#include "tests/comm/run_program.hpp"

namespace viaduct {
namespace {

std::vector<Cpu> cores(int n, int threads_per_core = 1) {
  std::vector<Cpu> pool;
  for (int core = 0; core < n; ++core)
    for (int t = 0; t < threads_per_core; ++t) pool.push_back({core + t * n, core});
  return pool;
}

TEST(ThreadShare, CoresAreDivided) {
  auto pool = cores(7);
  std::vector<int> sizes;
  std::vector<Cpu> all;
  for (int rank = 0; rank < 3; ++rank) {
    auto share = share_of(pool, rank, 3);
    sizes.push_back(threads_for(share, pool, 3, 0));
    all.insert(all.end(), share.begin(), share.end());
  }
  EXPECT_EQ(sizes, (std::vector<int>{2, 2, 3}));
  EXPECT_EQ(all, pool) << "every core once";
}

TEST(ThreadShare, HyperThreadsStayTogetherAndCountOnce) {
  auto pool = cores(4, 2);
  auto share = share_of(pool, 1, 2);
  EXPECT_EQ(share, (std::vector<Cpu>{{2, 2}, {6, 2}, {3, 3}, {7, 3}}));
  EXPECT_EQ(threads_for(share, pool, 2, 0), 2);
}

TEST(ThreadShare, OversubscribedRanksShareAll) {
  auto pool = cores(2);
  EXPECT_EQ(share_of(pool, 3, 4), pool);
  EXPECT_EQ(threads_for(pool, pool, 4, 0), 1);
}

TEST(ThreadShare, AQuotaOfTheContainerCounts) {
  auto pool = cores(64);
  EXPECT_EQ(threads_for(pool, pool, 1, 2.0), 2);
  EXPECT_EQ(threads_for(pool, pool, 1, 2.5), 3);
  EXPECT_EQ(threads_for(share_of(pool, 0, 4), pool, 4, 2.0), 1);
}

TEST(CpuList, ReadsAndWritesWhatTheKernelWrites) {
  EXPECT_EQ(parse_cpu_list("\t0-3,8,10-11"), (std::vector<int>{0, 1, 2, 3, 8, 10, 11}));
  EXPECT_EQ(format_cpu_list({11, 0, 1, 2, 3, 8, 10}), "0-3,8,10-11");
  EXPECT_TRUE(parse_cpu_list("").empty());
  EXPECT_EQ(format_cpu_list({}), "");
}

std::vector<int> own_cpus() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  sched_getaffinity(0, sizeof mask, &mask);
  std::vector<int> cpus;
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(i, &mask)) cpus.push_back(i);
  return cpus;
}

TEST(SettleThreads, RanksThatMpirunBoundByDefaultGetTheirShareOfTheNode) {
  test::Ended ended = test::run_scenario("print_threads", 1, {.binding_policy = "", .omp_threads = ""});
  EXPECT_EQ(ended.code, 0) << ended.output;
  EXPECT_EQ(ended.times("1 rank on "), 1) << ended.output;
  EXPECT_EQ(ended.times(" OpenMP threads, cores " + format_cpu_list(own_cpus()) + "\n"), 1) << ended.output;
}

TEST(SettleThreads, ABindingByRequestStays) {
  if (own_cpus().size() < 2) GTEST_SKIP() << "needs two processors: on one, bound and unbound look the same";
  test::Ended ended = test::run_scenario("print_threads", 1,
                                         {.options = {"--bind-to", "core"}, .binding_policy = "", .omp_threads = ""});
  EXPECT_EQ(ended.times("1 OpenMP threads, cores "), 1) << ended.output;
  EXPECT_EQ(ended.times("cores " + format_cpu_list(own_cpus()) + "\n"), 0) << ended.output;
}

TEST(SettleThreads, ANumberOfThreadsByRequestStays) {
  test::Ended ended = test::run_scenario("print_threads", 2, {.omp_threads = "3"});
  EXPECT_EQ(ended.times("] warning: 3 OpenMP threads"), 2) << ended.output;
  EXPECT_EQ(ended.times("2 ranks on "), 1) << ended.output;
}

}  // namespace
}  // namespace viaduct
