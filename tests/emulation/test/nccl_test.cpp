// The stand-in NCCL among ranks of their own. This test program is also their program: with EMULATION_RANKS set it runs
// that scenario before any test, and exits.
#define OMPI_SKIP_MPICXX 1  // the C++ bindings are not used, and warn
#include <mpi.h>
#include <nccl.h>
#include <unistd.h>

#include "command.hpp"
#include "kernels.hpp"

namespace viaduct::test {
namespace {

// Ends the rank, and with it the job, where something is not as it should be.
void must(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "not so: %s\n", what);
  std::_Exit(1);
}
#define MUST(x) must(x, #x)

struct Ranks {
  ncclComm_t comm = nullptr;
  int rank = 0, size = 0;
  OwnStream stream;
  Ranks() {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank), MPI_Comm_size(MPI_COMM_WORLD, &size);
    ncclUniqueId id{};
    if (rank == 0) MUST(ncclGetUniqueId(&id) == ncclSuccess);
    MPI_Bcast(&id, sizeof id, MPI_BYTE, 0, MPI_COMM_WORLD);
    MUST(ncclCommInitRank(&comm, size, id, rank) == ncclSuccess);
  }
  ~Ranks() { MUST(ncclCommDestroy(comm) == ncclSuccess); }
};
using Floats = std::vector<float>;

void collectives() {
  Ranks r;
  float n = float(r.size), sum = n * (n + 1) / 2;
  DeviceArray<float> mine(Floats{float(r.rank + 1), 10}), all(size_t(2 * r.size)), part(1);
  MUST(ncclAllGather(mine.data(), all.data(), 2, ncclFloat32, r.comm, r.stream) == ncclSuccess);
  MUST(ncclAllReduce(mine.data(), mine.data(), 2, ncclFloat32, ncclSum, r.comm, r.stream) == ncclSuccess);
  MUST(cudaStreamSynchronize(r.stream) == cudaSuccess);
  for (int i = 0; i < r.size; ++i) MUST(all.get()[size_t(2 * i)] == float(i + 1) && all.get()[size_t(2 * i + 1)] == 10);
  MUST(mine.get() == Floats({sum, 10 * n}));

  DeviceArray<float> parts(Floats(size_t(r.size), float(r.rank)));
  MUST(ncclReduceScatter(parts.data(), part.data(), 1, ncclFloat32, ncclMax, r.comm, r.stream) == ncclSuccess);
  MUST(cudaStreamSynchronize(r.stream) == cudaSuccess);
  MUST(part.get()[0] == n - 1);

  part.set({float(r.rank)});
  MUST(ncclBroadcast(part.data(), part.data(), 1, ncclFloat32, r.size - 1, r.comm, r.stream) == ncclSuccess);
  MUST(ncclReduce(part.data(), part.data(), 1, ncclFloat32, ncclAvg, 0, r.comm, r.stream) == ncclSuccess);
  MUST(cudaStreamSynchronize(r.stream) == cudaSuccess);
  MUST(part.get()[0] == n - 1);
}

// 1 + 2^-8 is no bfloat16, but 2 + 2^-7 is: sums of 16-bit types are taken in fp32 and rounded once.
void sixteen_bits() {
  Ranks r;
  DeviceArray<__nv_bfloat16> x(std::vector<__nv_bfloat16>{__float2bfloat16(r.rank ? 0x1p-8f : 1.0f)});
  MUST(ncclAllReduce(x.data(), x.data(), 1, ncclBfloat16, ncclSum, r.comm, r.stream) == ncclSuccess);
  MUST(cudaStreamSynchronize(r.stream) == cudaSuccess);
  MUST(float(x.get()[0]) == float(__float2bfloat16(1 + float(r.size - 1) * 0x1p-8f)));
}

void groups() {  // all to all, and a part of the ranks
  Ranks r;
  std::vector<int> numbers(size_t(r.size), r.rank);
  DeviceArray<int> from(numbers), to(numbers.size());
  MUST(ncclGroupStart() == ncclSuccess);
  for (int p = 0; p < r.size; ++p) {
    MUST(ncclSend(from.data() + p, 1, ncclInt32, p, r.comm, r.stream) == ncclSuccess);
    MUST(ncclRecv(to.data() + p, 1, ncclInt32, p, r.comm, r.stream) == ncclSuccess);
  }
  MUST(ncclGroupEnd() == ncclSuccess);
  MUST(cudaStreamSynchronize(r.stream) == cudaSuccess);
  for (int p = 0; p < r.size; ++p) MUST(to.get()[size_t(p)] == p);
  ncclComm_t half;
  MUST(ncclCommSplit(r.comm, r.rank % 2, r.rank, &half, nullptr) == ncclSuccess);
  int size = 0;
  MUST(ncclCommCount(half, &size) == ncclSuccess && size == (r.size + 1 - r.rank % 2) / 2);
  MUST(ncclAllReduce(from.data(), from.data(), 1, ncclInt32, ncclMin, half, r.stream) == ncclSuccess);
  MUST(cudaStreamSynchronize(r.stream) == cudaSuccess);
  MUST(from.get()[0] == r.rank % 2);
  MUST(ncclCommDestroy(half) == ncclSuccess);
}

void captured() {
  Ranks r;
  DeviceArray<float> x(Floats{1});
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  MUST(cudaStreamBeginCapture(r.stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  MUST(ncclAllReduce(x.data(), x.data(), 1, ncclFloat32, ncclSum, r.comm, r.stream) == ncclSuccess);
  MUST(cudaStreamEndCapture(r.stream, &graph) == cudaSuccess);
  MUST(cudaGraphInstantiate(&exec, graph) == cudaSuccess);
  MUST(x.get()[0] == 1);
  for (int i = 0; i < 2; ++i) MUST(cudaGraphLaunch(exec, r.stream) == cudaSuccess);
  MUST(cudaStreamSynchronize(r.stream) == cudaSuccess);
  MUST(x.get()[0] == float(r.size * r.size));
  MUST(cudaGraphExecDestroy(exec) == cudaSuccess && cudaGraphDestroy(graph) == cudaSuccess);
}

void different_sizes() {
  Ranks r;
  DeviceArray<float> x(Floats(8, 1));
  (void)ncclAllReduce(x.data(), x.data(), r.rank ? 8 : 4, ncclFloat32, ncclSum, r.comm, r.stream);
}
void different_collectives() {
  Ranks r;
  DeviceArray<float> x(Floats(8, 1));
  if (r.rank)
    (void)ncclAllReduce(x.data(), x.data(), 4, ncclFloat32, ncclSum, r.comm, r.stream);
  else
    (void)ncclBroadcast(x.data(), x.data(), 4, ncclFloat32, 0, r.comm, r.stream);
}

const std::pair<const char*, void (*)()> kScenarios[] = {{"collectives", collectives},
                                                         {"sixteen_bits", sixteen_bits},
                                                         {"groups", groups},
                                                         {"captured", captured},
                                                         {"different_sizes", different_sizes},
                                                         {"different_collectives", different_collectives}};

class RankProgram : public testing::Environment {
  void SetUp() override {
    const char* name = std::getenv("EMULATION_RANKS");
    if (!name) return;
    MPI_Init(nullptr, nullptr);
    for (auto& [scenario, body] : kScenarios)
      if (scenario == std::string(name)) body();
    MPI_Finalize();
    std::printf("a rank has come to its end\n");
    std::fflush(stdout);
    std::_Exit(0);  // MPI has unloaded its plugins, so that LeakSanitizer could not tell whose memory they left
  }
};
[[maybe_unused]] const auto* registered = testing::AddGlobalTestEnvironment(new RankProgram);

Ended run_ranks(const std::string& scenario, int ranks, const std::string& streams = "early") {
  char self[4096] = "";
  EXPECT_GT(readlink("/proc/self/exe", self, sizeof self - 1), 0);
  std::string root = getuid() == 0 ? "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 " : "";
  return run(root + "OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1 " +
             "OMPI_MCA_hwloc_base_binding_policy=none OMP_NUM_THREADS=1 EMULATION_RANKS=" + scenario +
             " EMULATION_STREAMS=" + streams + " timeout 100 mpirun -np " + std::to_string(ranks) + " " + self);
}

class Nccl : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Emulated, Nccl, testing::Values("collectives", "sixteen_bits", "groups", "captured"));
TEST_P(Nccl, DoesWhatItSays) {
  for (const char* streams : {"early", "late"}) {
    Ended ended = run_ranks(GetParam(), 3, streams);
    EXPECT_EQ(ended.code, 0) << ended.output;
    EXPECT_NE(ended.output.find("a rank has come to its end"), std::string::npos) << ended.output;
  }
}

TEST(NcclReport, RanksThatDiffer) {
  Ended sizes = run_ranks("different_sizes", 2), collectives = run_ranks("different_collectives", 2);
  EXPECT_NE(sizes.code, 0);
  EXPECT_NE(sizes.output.find("rank 0 calls ncclAllReduce of 4 elements"), std::string::npos) << sizes.output;
  EXPECT_NE(sizes.output.find("rank 1 calls ncclAllReduce of 8 elements"), std::string::npos) << sizes.output;
  EXPECT_NE(collectives.code, 0);
  EXPECT_NE(collectives.output.find("rank 0 calls ncclBroadcast of 4 elements"), std::string::npos)
      << collectives.output;
}

}  // namespace
}  // namespace viaduct::test
