// What `doctor` says about GPUs: what was found, apart from what is said of it, so that each can be tested alone.
#pragma once
#include <string>
#include <vector>

#include "app/findings.hpp"
#include "comm/mpi_world.hpp"
#include "core/device/gpus.hpp"
#include "train/config.hpp"

namespace viaduct::app {

struct GpuFacts {
  bool built_with_cuda = false;
  bool driver_files = false;  // the kernel has NVIDIA's module
  std::string kind = "auto";  // device.kind
  std::string why;            // none can be used, as gpu_count says it
  std::vector<Gpu> gpus;      // that are visible to this process
  int local_rank = 0;
};
GpuFacts gpu_facts(const World&, const Config&);

void judge_gpus(const GpuFacts&, Findings&);
// Copies and products on the GPU of this rank, if it has one to itself.
void measure_gpu(const GpuFacts&, Findings&);

}  // namespace viaduct::app
