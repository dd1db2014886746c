#include "app/doctor_gpu.hpp"
#include "app/doctor_launch.hpp"
#include "app/host_info.hpp"
#include "app/setup.hpp"
#include "core/base/log.hpp"
#include "train/host_memory.hpp"

namespace viaduct::app {
namespace {

void check_memory(const World& world, Findings& found) {
  auto free = available_memory();
  found.fact("memory", "{}", free ? fmt::format("{:.1f} GB available", double(*free) / 1e9) : "unknown");
  int64_t shared = free_bytes("/dev/shm");
  bool little = world.local_size > 1 && shared >= 0 && shared < (64 << 20) * int64_t(world.local_size);
  found.fact("shared memory", "{:.1f} GB free in /dev/shm{}", double(shared) / 1e9,
             little ? "; little, should MPI complain: in a container start it with --shm-size=1g" : "");
}

void check_rates(const Invocation& call, Findings& found) {
  call.comm.barrier();  // all ranks at once, as in training
  ProductRate products = measure_products();
  std::string bf16 = products.bf16 > 0 ? fmt::format("{:.0f} GFLOP/s in bf16", products.bf16 / 1e9) : "no fast bf16";
  found.fact("products", "{:.0f} GFLOP/s in fp32, {}", products.fp32 / 1e9, bf16);
  call.comm.barrier();
  found.fact("copy", "{:.1f} GB/s", measure_copy() / 1e9);
  if (call.world.size == 1) return;
  constexpr int64_t kElements = 25'000'000 / 4;
  Buffer buffer = call.comm.allocate(Device::cpu(), kElements * 4);
  Stream stream(Device::cpu());
  Tensor tensor = buffer.view(0, {kElements}, DType::f32);
  double best = 1e30;
  for (int i = 0; i < 5; ++i) {
    call.comm.barrier();
    auto start = std::chrono::steady_clock::now();
    call.comm.all_reduce(tensor, Reduce::sum, stream);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  found.fact("all-reduce", "25 MB in {:.1f} ms ({})", 1e3 * best, call.comm.name(Device::cpu()));
}

void check_host(const Invocation& call, Findings& found) {
  found.fact("processor", "{}: {}", cpu_model(), cpu_features());
  check_memory(call.world, found);
  check_rates(call, found);
  const GpuFacts gpus = gpu_facts(call.world, call.config);
  judge_gpus(gpus, found);
  measure_gpu(gpus, found);
}

// On every rank the problems of all.
Exit say(const Findings& found, const Invocation& call) {
  int problems = 0;
  for (const std::string& count : call.comm.all_gather_text(std::to_string(found.problems)))
    problems += std::stoi(count);
  auto texts = call.comm.all_gather_text(found.text);
  if (call.world.rank == 0) {
    for (size_t rank = 0; rank < texts.size(); ++rank) fmt::print("rank {}\n{}", rank, texts[rank]);
    fmt::print("{}\n", problems ? fmt::format("{} problems", problems) : "no problems found");
  }
  return problems ? Exit::config : Exit::ok;
}

Exit run(const Invocation& call) {
  const bool all = call.subjects.empty();
  if (!all && call.subjects[0] != "launch")
    fail_config(fmt::format("viaduct doctor does not know '{}'; expected launch, or nothing", call.subjects[0]));
  Findings found;
  judge_launch(call.world, place_ranks(call), launch_line(), found);
  if (all) check_host(call, found);
  return say(found, call);
}

}  // namespace

const Command doctor_command = {
    "doctor",
    "[launch]",
    "is this host, and this launch, set up right?",
    "Run it as the training is run: mpirun -np N viaduct doctor, srun --mpi=pmix -n N viaduct "
    "doctor launch. Says for every\n"
    "rank what it found and measured (products and copies with all ranks at work; with "
    "launch only where the ranks are, in a\n"
    "moment), and what is wrong, with the line to use instead; exit code 2 where something is.",
    {"device"},
    1,
    false,
    run};

}  // namespace viaduct::app
