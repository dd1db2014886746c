#include "app/doctor_gpu.hpp"

#include <filesystem>

#include "app/device_rates.hpp"
#include "core/base/check.hpp"

namespace viaduct::app {
namespace {

constexpr int kOldestMajor = 8;  // compute capability 8.0, Ampere

bool is_wanted(const GpuFacts& f) { return f.kind != "cpu"; }

void judge(const Gpu& g, bool wanted, Findings& found) {
  found.fact("gpu", "{}: {}, compute capability {}.{}, {} multiprocessors, {:.1f} GB, {:.1f} GB free", g.index, g.name,
             g.major, g.minor, g.multiprocessors, double(g.memory_bytes) / 1e9, double(g.free_bytes) / 1e9);
  if (g.major < kOldestMajor && wanted)
    found.problem(
        "GPU {} has compute capability {}.{}, Viaduct needs {}.0 (Ampere) or newer: hide it with CUDA_VISIBLE_DEVICES, "
        "or "
        "set device.kind = cpu",
        g.index, g.major, g.minor, kOldestMajor);
}

}  // namespace

GpuFacts gpu_facts(const World& world, const Config& config) {
  GpuFacts facts{.built_with_cuda = built_with_cuda(),
                 .driver_files = std::filesystem::exists("/proc/driver/nvidia/version"),
                 .kind = config.device.kind,
                 .local_rank = world.local_rank};
  try {
    const int count = gpu_count(&facts.why);
    for (int i = 0; i < count; ++i) facts.gpus.push_back(gpu(i));
  } catch (const Error& e) {
    facts.gpus.clear(), facts.why = e.what();
  }
  return facts;
}

void judge_gpus(const GpuFacts& f, Findings& found) {
  if (f.gpus.empty()) {
    // Nobody misses a GPU where there is none, and it was not asked for.
    if (f.kind == "cuda" || (is_wanted(f) && f.driver_files))
      found.problem("device.kind = {}, but no GPU can be used: {}", f.kind, f.why);
    else
      found.fact("gpu", "none: {}", f.why);
    return;
  }
  found.fact("cuda", "the driver serves CUDA {}, this program was built with {}", f.gpus[0].driver, f.gpus[0].runtime);
  for (const Gpu& g : f.gpus) judge(g, is_wanted(f), found);
}

void measure_gpu(const GpuFacts& f, Findings& found) {
  if (!is_wanted(f) || size_t(f.local_rank) >= f.gpus.size()) return;
  const Gpu& g = f.gpus[size_t(f.local_rank)];
  if (g.major < kOldestMajor) return;
  try {
    const DeviceRates rates = measure_rates(Device::cuda(g.index), DType::bf16);
    found.fact("gpu copy", "{:.0f} GB/s, read and written", rates.copy / 1e9);
    found.fact("gpu products", "{:.1f} TFLOP/s in bf16, matrices of {} x {}", rates.products / 1e12, rates.side,
               rates.side);
  } catch (const Error& e) {
    found.problem("GPU {} was found and cannot compute: {}", g.index, e.what());
  }
}

}  // namespace viaduct::app
