// This test program is also a program of ranks: with VIADUCT_SCENARIO set it runs that scenario, before any test, and
// exits.
#include <gtest/gtest.h>
#include <omp.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "comm/grad_sync.hpp"
#include "comm/mpi_comm.hpp"
#include "comm/mpi_world.hpp"
#include "comm/process.hpp"
#include "comm/signals.hpp"
#include "comm/threads.hpp"
#include "core/base/log.hpp"
#include "tests/comm/collectives.hpp"
#include "tests/comm/wire_steps.hpp"
#include "tests/support/synced_step.hpp"

namespace viaduct {
namespace {

using Body = std::function<int(const World&, Communicator&)>;

int sleep_for_ever() {
  for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
}

int collectives(const World&, Communicator& comm) {
  test::check_collectives(comm);
  test::check_strategies(comm);
  if (comm.size() == 1) return 0;
  auto messages = make_mpi_comm({.largest_count = 1000, .share_memory = false});  // and tensors above the largest count
  test::check_collectives(*messages);
  test::check_strategies(*messages);
  return 0;
}

int bf16_wire(const World&, Communicator& comm) {
  auto messages = make_mpi_comm({.largest_count = 30000, .share_memory = false});
  for (const char* strategy : {"ddp", "fast_ddp", "zero1", "zero2"})
    for (Communicator* ranks : {&comm, messages.get()}) test::check_bf16(*ranks, strategy);
  return 0;
}

// Rank 1 fails in the middle of a backward pass, when its first bucket is under way and waits for rank 0, which never
// comes.
int fail_in_backward(const World& world, Communicator& comm) {
  ParameterStore store;
  for (const char* name : {"first", "second"}) store.block(name, [&] { store.add(name, {1 << 20}); });
  store.materialize(Device::cpu(), DType::f32, true, [&](Device d, int64_t bytes) { return comm.allocate(d, bytes); });
  auto sync = make_grad_sync({.bucket_mb = 1}, store, comm);
  test::SyncedStep synced(*sync);
  if (world.rank == 0) return sleep_for_ever();
  synced.begin(true);
  sync->ready(store.blocks()[1]);
  fail_input("the picture of rank 1 is gone");
}

int until_stopped(Communicator& comm) {
  Stream stream(Device::cpu());
  for (;;) {  // as the trainer: one agreed step boundary
    int64_t stop = stop_requested();
    comm.all_reduce({&stop, {1}, DType::i64, Device::cpu()}, Reduce::sum, stream);
    if (stop) return int(Exit::preempted);
  }
}

int stop_on_request(const World& world, Communicator& comm) {
  catch_stop_signals();
  comm.barrier();
  if (world.rank == 0) std::raise(SIGUSR1);
  return until_stopped(comm);
}

// The script that started mpirun gets the signal that a scheduler or a Ctrl-C would send it.
template <int signal>
int signal_the_launcher(const World& world, Communicator& comm) {
  catch_stop_signals();
  comm.barrier();
  if (world.rank == 0) {
    pid_t script = 0;
    std::ifstream status(fmt::format("/proc/{}/status", ::getppid()));
    for (std::string word; status >> word && word != "PPid:";) {
    }
    expect(bool(status >> script) && script > 1 && ::kill(script, signal) == 0, "the launcher gets a signal");
  }
  return until_stopped(comm);
}

int print_threads(const World& world, Communicator& comm) {
  ThreadShare share = settle_threads(world, comm);
  log::info("{}", describe(share.ranks));
  comm.barrier();
  log::warn("{} OpenMP threads, cores {}", omp_get_max_threads(), format_cpu_list(share.cpus));
  return 0;
}

Body scenario(const std::string& name) {
  if (name == "collectives") return collectives;
  if (name == "bf16_wire") return bf16_wire;
  if (name == "strategies")
    return [](const World&, Communicator& comm) {
      test::check_strategies(comm);
      return 0;
    };
  if (name == "fail_in_backward") return fail_in_backward;
  if (name == "stop_on_request") return stop_on_request;
  if (name == "terminate_launcher") return signal_the_launcher<SIGTERM>;
  if (name == "interrupt_launcher") return signal_the_launcher<SIGINT>;
  if (name == "print_threads") return print_threads;
  if (name == "fail_alone")
    return [](const World& world, Communicator& comm) {
      if (world.rank == 1) fail_input("the picture of rank 1 is gone");
      comm.barrier();
      return 0;
    };
  if (name == "fail_together") return [](const World&, Communicator&) -> int { fail_config("no such key"); };
  if (name == "fail_differently")
    return [](const World& world, Communicator&) -> int { fail_config(fmt::format("no such key {}", world.rank)); };
  if (name == "killed")
    return [](const World& world, Communicator&) {
      if (world.rank == 1) std::raise(SIGKILL);
      return sleep_for_ever();
    };
  if (name == "watchdog")
    return [](const World& world, Communicator& comm) {
      std::thread watchdog([&] {
        if (world.rank == 0) end_all_ranks(Exit::stall, "rank 1 does not answer");
      });
      watchdog.detach();
      if (world.rank == 1) return sleep_for_ever();
      comm.barrier();
      return 0;
    };
  if (name == "say_size")
    return [](const World& world, Communicator& comm) {
      log::info("{} of {}, {}", world.rank, world.size, comm.name(Device::cpu()));
      return 0;
    };
  if (name == "say_wait_policy")
    return [](const World&, Communicator&) {
      std::ifstream at_start("/proc/self/environ");  // what libgomp saw; setenv does not show here
      for (std::string entry; std::getline(at_start, entry, '\0');)
        if (entry.starts_with("OMP_WAIT_POLICY=")) log::info("started with {}", entry);
      return 0;
    };
  std::abort();
}

class RankProgram : public testing::Environment {
  void SetUp() override {
    const char* name = std::getenv("VIADUCT_SCENARIO");
    if (!name) return;
    char program[] = "rank_program";
    char* argv[] = {program, nullptr};
    prepare_process(argv);
    std::exit(run_ranks_main(scenario(name)));
  }
};

[[maybe_unused]] const auto* registered = testing::AddGlobalTestEnvironment(new RankProgram);

}  // namespace
}  // namespace viaduct
