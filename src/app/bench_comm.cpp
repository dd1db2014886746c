// All-reduce of the communicator that training would use, beside MPI_Allreduce in the same run.
#include <algorithm>
#include <cstring>

#include "app/bench.hpp"
#include "comm/mpi_comm.hpp"
#include "core/base/log.hpp"

namespace viaduct::app {
namespace {

constexpr int64_t kSmallest = int64_t(4) << 10, kLargest = int64_t(64) << 20, kFactor = 4;  // bytes

double largest_over_ranks(Communicator& comm, double value) {
  for (const std::string& text : comm.all_gather_text(fmt::format("{}", value)))
    value = std::max(value, std::stod(text));
  return value;
}

// Seconds of one call, of as many as bench.steps says, each begun together and done on every rank.
template <class F>
StepTimes seconds_of(const Invocation& call, F&& work) {
  const BenchSection& bench = call.config.bench;
  std::vector<double> seconds;
  for (int64_t i = 0; i < bench.warmup + bench.steps; ++i) {
    call.comm.barrier();
    auto start = std::chrono::steady_clock::now();
    work();
    double mine = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (i >= bench.warmup) seconds.push_back(largest_over_ranks(call.comm, mine));
  }
  return step_times(seconds);
}

// Bytes a second that all ranks together read and write while each copies.
double memory_bandwidth(const Invocation& call) {
  std::vector<std::byte> from(size_t(kLargest), std::byte{1}), to(from.size(), std::byte{2});
  const double seconds = seconds_of(call, [&] { std::memcpy(to.data(), from.data(), to.size()); }).best;
  return 2.0 * double(kLargest) * call.comm.size() / seconds;
}

}  // namespace

BenchResult bench_comm(const Invocation& call) {
  Communicator& comm = call.comm;
  const int ranks = comm.size();
  const double memory = memory_bandwidth(call);
  Stream stream(Device::cpu());
  Buffer ours = comm.allocate(Device::cpu(), kLargest), plain(Device::cpu(), kLargest);
  BenchResult result{.all = {.settings = {{"communicator", comm.name(Device::cpu())}},
                             .values = {{"ranks", double(ranks)}, {"memory_bytes_per_second", memory}}}};
  for (int64_t bytes = kSmallest; bytes <= kLargest; bytes *= kFactor) {
    auto numbers = [&](const Buffer& buffer) { return buffer.view(0, {bytes / 4}, DType::f32); };
    const StepTimes mine = seconds_of(call, [&] { comm.all_reduce(numbers(ours), Reduce::sum, stream); });
    const StepTimes mpi = seconds_of(call, [&] { mpi_library_all_reduce(numbers(plain)); });
    const double rate = double(bytes) / mine.median, bus = 2.0 * (ranks - 1) / ranks;  // as nccl-tests count it
    result.rows.push_back({.settings = {{"op", "all_reduce fp32"}, {"shape", fmt::format("{} KB", bytes >> 10)}},
                           .values = {{"bytes", double(bytes)},
                                      {"seconds", mine.median},
                                      {"best_seconds", mine.best},
                                      {"algorithm_bytes_per_second", rate},
                                      {"bus_bytes_per_second", rate * bus},
                                      {"mpi_allreduce_seconds", mpi.median},
                                      {"best_mpi_allreduce_seconds", mpi.best},
                                      {"mpi_allreduce_bus_bytes_per_second", double(bytes) / mpi.median * bus},
                                      {"times_mpi_allreduce", mpi.median / mine.median},
                                      {"best_times_mpi_allreduce", mpi.best / mine.best},
                                      // every rank's numbers are read once and written once
                                      {"best_memory_share", 2.0 * double(bytes) * ranks / mine.best / memory}}});
  }
  return result;
}

}  // namespace viaduct::app
