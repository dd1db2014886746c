// Evaluation while the watchdog looks on, and memory of the host.
#include "train/evaluate.hpp"

#include <gtest/gtest.h>

#include "core/base/phase_clock.hpp"
#include "tests/support/temp_folder.hpp"
#include "train/host_memory.hpp"

namespace viaduct {
namespace {

struct OneSample final : Dataset {
  int64_t size() const override { return 1; }
  std::string id(int64_t) const override { return "a"; }
  std::vector<uint8_t> read(int64_t) const override { return {}; }
  bool has_labels() const override { return false; }
  int32_t label(int64_t) const override { return 0; }
  const std::vector<std::string>& classes() const override { return none; }
  std::vector<std::string> none;
};

struct CountingTask final : Task {
  ParameterStore& parameters() override { return store; }
  void train(Ctx&, const Batch&, GradSink&) override {}
  void evaluate(Ctx&, const Batch&, Metrics& metrics) override { metrics.add("eval_loss", 1, 1); }
  Tensor predict(Ctx&, const Batch&) override { return {}; }
  Batch blank_batch(Device, int64_t) const override { return {}; }
  double flops(bool, bool) const override { return 0; }
  ParameterStore store;
};

struct WatchedComm final : Communicator {
  explicit WatchedComm(const PhaseClock& c) : clock(c) {}
  int rank() const override { return 0; }
  int size() const override { return 1; }
  const char* name(Device) const override { return "watched"; }
  void all_reduce(Tensor, Reduce, Stream&) override { phases.push_back(clock.phase()); }
  void reduce_scatter(Tensor, Tensor, Reduce, Stream&) override {}
  void all_gather(Tensor, Tensor, Stream&) override {}
  void reduce_parts(Tensor, const std::vector<Range>&, Reduce, Stream&) override {}
  void gather_parts(Tensor, const std::vector<Range>&, Stream&) override {}
  void broadcast(Tensor, int, Stream&) override {}
  void barrier() override {}
  std::vector<std::string> all_gather_text(const std::string& mine) override { return {mine}; }
  std::unique_ptr<Communicator> duplicate() override { return std::make_unique<WatchedComm>(clock); }
  const PhaseClock& clock;
  std::vector<Phase> phases;
};

// Phase::comm is watched: a rank with little to evaluate would end the run while it waits for the others.
TEST(Evaluate, WaitingForSlowerRanksIsNoStall) {
  PhaseClock clock;
  Workspace work(Device::cpu(), 4096, DType::f32);
  work.ctx.clock = &clock;
  clock.enter(Phase::eval);
  CountingTask task;
  WatchedComm comm(clock);
  BatchUpload upload(Device::cpu(), {});
  Loader loader(std::make_shared<OneSample>(), {.pass = Pass::evaluation, .rank = 1, .ranks = 2});  // has no sample
  EXPECT_EQ(evaluate(task, work, upload, loader, comm).at("eval_loss"), 1);
  ASSERT_FALSE(comm.phases.empty());
  for (Phase phase : comm.phases) EXPECT_EQ(phase, Phase::eval);
}

TEST(HostMemory, TheTightestGroupAboveCounts) {
  test::TempFolder root;
  auto write = [&](const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root / path).parent_path());
    test::write_bytes(root / path, text);
  };
  auto found = [&] { return available_memory(root.path().string()); };
  EXPECT_FALSE(found());  // unknown is not none left
  write("proc/meminfo", "MemTotal:  100 kB\nMemAvailable:  64 kB\n");
  write("proc/self/cgroup", "0::/job/step\n");
  EXPECT_EQ(found(), 64 * 1024);
  write("sys/fs/cgroup/job/step/memory.max", "max\n");
  write("sys/fs/cgroup/job/step/memory.current", "10\n");
  write("sys/fs/cgroup/job/memory.max", "5000\n");
  write("sys/fs/cgroup/job/memory.current", "3000\n");
  write("sys/fs/cgroup/job/memory.stat", "anon 1\ninactive_file 300\nactive_file 200\n");
  EXPECT_EQ(found(), 2500);
  write("sys/fs/cgroup/memory.max", "100\n");
  write("sys/fs/cgroup/memory.current", "100\n");
  EXPECT_EQ(found(), 0);
}

}  // namespace
}  // namespace viaduct
