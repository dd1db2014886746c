// What GPUs there are, for whoever chooses one or describes it; without CUDA in the build there are none.
#pragma once
#include <cstdint>
#include <string>

namespace viaduct {

struct Gpu {
  std::string name, bus;  // bus: where it is in this host: "0000:3b:00.0"
  int index = 0, major = 0, minor = 0, multiprocessors = 0;
  int64_t memory_bytes = 0, free_bytes = 0, l2_bytes = 0, shared_bytes_per_block = 0;
  std::string driver, runtime;  // versions of CUDA: "13.0"
};

bool built_with_cuda();
// How many can be used; where none, `why` says in a sentence what to do about it.
int gpu_count(std::string* why = nullptr);
Gpu gpu(int index);                  // of any, also one that this program has no code for
std::string gpu_address(int index);  // on the bus, the same for all processes of a host: "0000:3b:00.0"
// Makes it this thread's; throws a sentence where this program has no code for it.
void use_gpu(int index);
int64_t gpu_bytes_allocated();  // of this process, by buffers that live

}  // namespace viaduct
