#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "comm/mpi_world.hpp"
#include "tests/comm/run_program.hpp"

namespace viaduct {
namespace {

using test::Ended;
using test::run_program;
using test::run_scenario;

TEST(World, ARankThatFailsAloneEndsAllWithItsMessageAndCode) {
  Ended ended = run_scenario("fail_alone", 3);
  EXPECT_EQ(ended.code, int(Exit::input)) << ended.output;
  EXPECT_EQ(ended.times("error: the picture of rank 1 is gone"), 1) << ended.output;
  EXPECT_EQ(ended.times("[rank 1 on "), 1) << ended.output;
}

TEST(World, CommunicationUnderWayDoesNotHoldUpAFailure) {
  Ended ended = run_scenario("fail_in_backward", 2);
  EXPECT_EQ(ended.code, int(Exit::input)) << ended.output;
  EXPECT_EQ(ended.times("the picture of rank 1 is gone"), 1) << ended.output;
}

TEST(World, WhatAllRanksSayIsSaidOnce) {
  Ended ended = run_scenario("fail_together", 4);
  EXPECT_EQ(ended.code, int(Exit::config)) << ended.output;
  EXPECT_EQ(ended.times("no such key"), 1) << ended.output;
}

TEST(World, DifferentMessagesAreAllSaid) {
  Ended ended = run_scenario("fail_differently", 2);
  EXPECT_EQ(ended.code, int(Exit::config)) << ended.output;
  EXPECT_EQ(ended.times("no such key 0"), 1) << ended.output;
  EXPECT_EQ(ended.times("no such key 1"), 1) << ended.output;
}

TEST(World, AKilledRankEndsAll) { EXPECT_EQ(run_scenario("killed", 3).code, 137); }

TEST(World, AnyThreadMayEndAllRanks) {
  Ended ended = run_scenario("watchdog", 2);
  EXPECT_EQ(ended.code, int(Exit::stall)) << ended.output;
  EXPECT_EQ(ended.times("rank 1 does not answer"), 1) << ended.output;
}

TEST(World, AStopIsAgreedAndKeepsItsCode) { EXPECT_EQ(run_scenario("stop_on_request", 3).code, int(Exit::preempted)); }

TEST(World, TheLauncherTurnsTerminationIntoARequestToSave) {
  for (const char* scenario : {"terminate_launcher", "interrupt_launcher"}) {
    Ended ended = run_scenario(scenario, 2, {.launcher = "launch/mpirun.sh"});
    EXPECT_EQ(ended.code, int(Exit::preempted)) << ended.output;
    EXPECT_EQ(ended.times("the ranks will save and stop"), 1) << ended.output;
  }
  EXPECT_EQ(run_scenario("fail_together", 2, {.launcher = "launch/mpirun.sh"}).code, int(Exit::config));
}

TEST(World, TheLauncherStartsARankForEveryGpuOrMemoryNode) {
  auto started = [](const std::string& what) {
    return run_program(
        {"launch/mpirun.sh", "--per", what, std::filesystem::read_symlink("/proc/self/exe").string()},
        {{"VIADUCT_SCENARIO", "print_threads"}, {"CUDA_VISIBLE_DEVICES", "4,6"}, {"OMP_NUM_THREADS", ""}});
  };
  EXPECT_EQ(started("gpu").times("OpenMP threads, cores "), 2);
  int nodes = 0;  // with cores
  for (const auto& node : std::filesystem::directory_iterator("/sys/devices/system/node")) {
    std::string cpus;
    std::ifstream(node.path() / "cpulist") >> cpus;
    nodes += !cpus.empty();
  }
  EXPECT_EQ(started("numa").times("OpenMP threads, cores "), nodes);
  EXPECT_EQ(started("core").code, 2);
}

std::vector<std::pair<std::string, std::string>> no_launcher(const std::string& scenario) {
  return {{"VIADUCT_SCENARIO", scenario},
          {"PMIX_RANK", ""},
          {"OMPI_COMM_WORLD_SIZE", ""},
          {"PMI_RANK", ""},
          {"PMI_SIZE", ""},
          {"OMP_WAIT_POLICY", ""},
          {"GOMP_SPINCOUNT", ""}};
}

TEST(World, NeedsNoLauncher) {
  Ended ended = run_program({"/proc/self/exe"}, no_launcher("say_size"));
  EXPECT_EQ(ended.code, 0) << ended.output;
  EXPECT_EQ(ended.times("0 of 1, self"), 1) << ended.output;
  EXPECT_EQ(run_program({"/proc/self/exe"}, no_launcher("fail_together")).code, int(Exit::config));
}

TEST(World, SrunWithoutPmixIsRefusedWithTheLineThatHelps) {
  for (int task : {0, 1}) {
    auto environment = no_launcher("say_size");
    environment.push_back({"SLURM_STEP_NUM_TASKS", "4"});
    environment.push_back({"SLURM_PROCID", std::to_string(task)});
    Ended ended = run_program({"/proc/self/exe"}, environment);
    EXPECT_EQ(ended.code, int(Exit::config)) << ended.output;
    EXPECT_EQ(ended.times("srun --mpi=pmix -n 4 "), task == 0 ? 1 : 0) << ended.output;
  }
}

TEST(World, SrunOfMpirunsIsRefusedWithTheLineThatHelps) {
  ::setenv("SLURM_STEP_NUM_TASKS", "4", 1);
  Ended ended = run_scenario("say_size", 1);
  ::unsetenv("SLURM_STEP_NUM_TASKS");
  EXPECT_EQ(ended.code, int(Exit::config)) << ended.output;
  EXPECT_EQ(ended.times("srun started mpirun 4 times"), 1) << ended.output;
  EXPECT_EQ(ended.times("\n  srun --mpi=pmix -n 4 rank_program\n"), 1) << ended.output;
}

TEST(World, ALauncherOfAnotherMpiIsRefused) {
  ::setenv("PMI_SIZE", "3", 1);  // as MPICH's launchers say it
  Ended ended = run_scenario("say_size", 1);
  EXPECT_EQ(ended.code, int(Exit::config)) << ended.output;
  EXPECT_EQ(ended.times("PMI_SIZE = 3, but MPI sees worlds of one rank"), 1) << ended.output;
  EXPECT_EQ(ended.times("/mpirun -np 3 rank_program\n"), 1) << ended.output;
  EXPECT_EQ(run_scenario("say_size", 2).code, 0) << "several ranks have met: what else the environment says is old";
  ::unsetenv("PMI_SIZE");
}

TEST(Process, StartsAgainWithAPassiveWaitPolicyUnlessTheUserChose) {
  auto environment = no_launcher("say_wait_policy");
  Ended ended = run_program({"/proc/self/exe"}, environment);
  EXPECT_EQ(ended.times("started with OMP_WAIT_POLICY=passive"), 1) << ended.output;
  environment.push_back({"OMP_WAIT_POLICY", "active"});
  ended = run_program({"/proc/self/exe"}, environment);
  EXPECT_EQ(ended.times("started with OMP_WAIT_POLICY=active"), 1) << ended.output;
}

}  // namespace
}  // namespace viaduct
