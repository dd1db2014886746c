// What is said of a launch, on hosts that are invented.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/launch_faults.hpp"
#include "comm/threads.hpp"

namespace viaduct {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

// A host's ranks with `cores` each, one after the other; both hyper-threads of a core with the number of the core.
std::vector<RankPlace> host(const std::string& name, int ranks, int cores, int host_cores = 8) {
  std::vector<RankPlace> places;
  for (int rank = 0; rank < ranks; ++rank) {
    RankPlace place{.host = name, .threads = cores, .host_cores = host_cores};
    for (int i = 0; i < cores; ++i) place.cores.push_back(rank * cores + i);
    place.cpus = format_cpu_list(place.cores);
    places.push_back(place);
  }
  return places;
}
std::vector<RankPlace> all_on(const std::string& cpus, std::vector<RankPlace> places) {
  for (RankPlace& place : places) place.cpus = cpus, place.cores = parse_cpu_list(cpus);
  return places;
}
std::vector<RankPlace> with_threads(int threads, std::vector<RankPlace> places) {
  for (RankPlace& place : places) place.threads = threads;
  return places;
}
std::vector<RankPlace> with_gpus(const std::vector<std::vector<std::string>>& gpus, int of_host,
                                 const std::string& name) {
  std::vector<RankPlace> places = host(name, int(gpus.size()), 1);
  for (size_t rank = 0; rank < gpus.size(); ++rank) places[rank].gpus = gpus[rank], places[rank].host_gpus = of_host;
  return places;
}
std::vector<RankPlace> operator+(std::vector<RankPlace> a, const std::vector<RankPlace>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::vector<std::string> by_mpirun(const std::vector<RankPlace>& places) {
  return launch_faults(places, {"mpirun", "viaduct train --config c"});
}
std::vector<std::string> by_srun(const std::vector<RankPlace>& places) {
  return launch_faults(places, {"srun", "viaduct train --config c"});
}

TEST(LaunchFaults, AGoodLaunchHasNone) {
  EXPECT_THAT(by_mpirun(host("a", 4, 2) + host("b", 4, 2)), IsEmpty());
  EXPECT_THAT(by_mpirun(all_on("0-7", host("a", 4, 2))), IsEmpty()) << "unbound, and their threads fit";
  EXPECT_THAT(by_srun(with_gpus({{"x"}, {"y"}}, 2, "a")), IsEmpty()) << "each sees its own";
  EXPECT_THAT(by_srun(with_gpus({{"x", "y"}, {"x", "y"}}, 2, "a")), IsEmpty()) << "both see both";
  EXPECT_THAT(by_srun(with_gpus({{"x"}}, 2, "a") + with_gpus({{"x"}}, 2, "b")), IsEmpty()) << "on hosts of their own";
}

TEST(LaunchFaults, MoreRanksThanCores) {
  auto places = all_on("0-3", host("a", 6, 1, 4));
  EXPECT_THAT(by_mpirun(places), ElementsAre(AllOf(StartsWith("6 ranks on a take turns on 4 cores: "),
                                                   EndsWith("\n  mpirun -np 4 viaduct train --config c"))));
  EXPECT_THAT(by_mpirun(places + all_on("0-3", host("b", 6, 1, 4))),
              ElementsAre(EndsWith("\n  mpirun --host a:4,b:4 viaduct train --config c")));
  EXPECT_THAT(by_srun(places), ElementsAre(EndsWith("\n  srun --mpi=pmix --nodes=1 --ntasks-per-node=4 "
                                                    "--cpus-per-task=1 viaduct train --config c")));
}

TEST(LaunchFaults, RanksThatAreBoundToTheSameCore) {
  auto places = all_on("0", host("a", 4, 1, 8));
  EXPECT_THAT(by_mpirun(places), ElementsAre(AllOf(StartsWith("4 ranks on a may run on 1 of its 8 cores only (core 0)"),
                                                   EndsWith("\n  mpirun -np 4 viaduct train --config c"))));
  for (RankPlace& place : places) place.cpus = "0,8";  // the hyper-threads of that core: srun counts them
  EXPECT_THAT(by_srun(places), ElementsAre(HasSubstr("--ntasks-per-node=4 --cpus-per-task=4 ")));
}

TEST(LaunchFaults, MoreThreadsThanCores) {
  EXPECT_THAT(by_mpirun(with_threads(8, host("a", 4, 2))),
              ElementsAre(AllOf(StartsWith("4 ranks on a: 32 threads take turns on 8 cores"),
                                EndsWith("\n  mpirun -np 4 viaduct train --config c --device.threads 2"))));
  EXPECT_THAT(launch_faults(with_threads(3, host("a", 1, 2, 2)), {"", "viaduct eval"}),
              ElementsAre(EndsWith("\n  viaduct eval --device.threads 2")))
      << "one rank needs no launcher";
}

TEST(LaunchFaults, AllRanksOnOneGpu) {
  auto hidden = with_gpus({{"0000:3b:00.0"}, {"0000:3b:00.0"}}, 4, "a");
  EXPECT_THAT(by_mpirun(hidden),
              ElementsAre(AllOf(StartsWith("2 ranks on a see 1 GPU (0000:3b:00.0) of the 4 of that host"),
                                EndsWith("\n  env -u CUDA_VISIBLE_DEVICES mpirun -np 2 viaduct train --config c"))));
  EXPECT_THAT(by_srun(hidden), ElementsAre(HasSubstr(" --ntasks-per-node=2 --cpus-per-task=4 --gpus-per-node=2 ")));
  auto few = with_gpus({{"x", "y"}, {"x", "y"}, {"x", "y"}}, 2, "a");
  EXPECT_THAT(by_mpirun(few), ElementsAre(AllOf(StartsWith("3 ranks on a see 2 GPUs (x, y): start one rank for each"),
                                                EndsWith("\n  mpirun -np 2 viaduct train --config c"))));
}

TEST(LaunchFaults, TheFirstOfSeveralHostsIsNamed) {
  EXPECT_THAT(by_mpirun(host("a", 2, 1) + all_on("0", host("b", 2, 1)) + all_on("0", host("c", 2, 1))),
              ElementsAre(StartsWith("2 ranks on b may run")));
}

TEST(RankPlaces, AreDescribedOnALine) {
  EXPECT_EQ(describe(host("a", 2, 1)), "2 ranks on a: 1 thread each, cores 0 / 1");
  EXPECT_EQ(describe(host("a", 1, 2)), "1 rank on a: 2 threads, cores 0-1");
  EXPECT_EQ(describe(all_on("0-1", host("a", 4, 1))), "4 ranks on a: 1 thread each, cores 0-1 shared");
  EXPECT_EQ(describe(host("a", 1, 1) + with_threads(2, host("a", 1, 1))),
            "2 ranks on a: 1 to 2 threads each, cores 0 shared");
  EXPECT_EQ(describe(host("a", 9, 1)), "9 ranks on a: 1 thread each, cores 0 / 1 / 2 / ... / 8");
}

TEST(RankPlaces, HostsThatAreAlikeAreDescribedTogether) {
  EXPECT_EQ(describe(host("a", 2, 1) + host("b", 1, 1) + host("c", 2, 1)),
            "5 ranks on 3 hosts: 2 ranks on a, c: 1 thread each, cores 0 / 1; 1 rank on b: 1 thread, cores 0");
}

}  // namespace
}  // namespace viaduct
