// CUDA kernels on the CPU: every thread of a block is a fiber of one host thread; blocks are spread over host threads.
// Barriers, shuffles, votes, mma and ldmatrix are meeting points, where the last to arrive does the work for all. A
// kernel that would hang, or be undefined, on a GPU ends the program with a report instead.
//
//   EMULATION_SCHEDULE = forward | reverse | <number>   the order of blocks, warps and lanes; a number seeds a random
//                                                       one, in which warps run ahead of others
//   EMULATION_ASYNC    = late | early                   cp.async arrives at its wait (finds missing waits), or at once
//                                                       (finds what was overwritten too early)
// Both are read at every launch. Not modelled: time, bank conflicts, weak memory between blocks (a block runs to its
// end, so blocks cannot wait for each other).
//
// This runtime is compiled without sanitizers, and kernels may be compiled with: under ThreadSanitizer only CUDA's
// barriers order the threads of a block, so that it reports their data races; under AddressSanitizer it reports
// accesses beyond shared and device memory. Blocks then run one after another.
#pragma once
#include <functional>
#include <vector>

#include "cuda_runtime.h"

namespace emulation {

constexpr int kMaxThreads = 1024, kWarpSize = 32, kMaxWarps = kMaxThreads / kWarpSize;

struct Settings {
  enum Order { forward, reverse, random } order = forward;
  uint64_t seed = 0;
  bool late_copies = true;
};
Settings settings_of_environment();

// Runs `thread` for every thread of the grid; returns when all have ended.
void run_grid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread);

struct Copy {
  void* to;
  const void* from;
  int group;  // 0: not committed
};

enum class State : uint8_t { ready, at_block_barrier, at_warp_meeting, ended };

struct Fiber {
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  void *tsan = nullptr, *asan_stack = nullptr;
  uint3 index{};
  int rank = 0;  // in the block
  State state = State::ended;
  const char* what = "";  // the meeting point it has come to last
  Where where;
  uint32_t mask = 0;
  void* payload = nullptr;
  void (*meeting)(void**) = nullptr;
  std::vector<Copy> copies;
  int groups = 0;
};

// The block that this host thread is running.
class Block {
 public:
  Block() = default;
  Block(const Block&) = delete;
  ~Block();
  void run(dim3 block, size_t shared_bytes, const Settings&, uint64_t seed, const std::function<void()>& thread);

  Fiber& running() { return *running_; }
  uint32_t alive_lanes() const { return alive_[running_->rank / kWarpSize]; }  // of the running thread's warp
  char* warp_tag() { return &warp_tags_[running_->rank / kWarpSize]; }
  unsigned char* shared() { return shared_; }
  bool late_copies() const { return settings_.late_copies; }
  Votes barrier(bool vote, Where);
  // Waits until all lanes of `mask` that have not ended have come. The last calls meeting(payloads of the 32 lanes),
  // null for lanes that do not take part.
  void meet(uint32_t mask, const char* what, Where, void* payload, void (*meeting)(void** payloads));
  [[noreturn]] void die(const char* problem, const Fiber* culprit = nullptr);

 private:
  void prepare(Fiber&, int rank);
  void prepare_shared(size_t bytes);
  void check_shared();
  void resume(Fiber&);
  void suspend();
  void release_barrier();
  void end_of_thread();
  bool all_came(int warp, uint32_t mask) const { return !(mask & alive_[warp] & ~arrived_[warp]); }
  void hold_meeting(int warp, const Fiber& last);
  bool run_warp(int warp);
  [[noreturn]] static void entry();

  std::vector<Fiber> fibers_;
  Fiber* running_ = nullptr;
  const std::function<void()>* thread_ = nullptr;
  Settings settings_;
  uint64_t random_state_ = 0;
  uint32_t random(uint32_t below);
  int threads_ = 0, live_ = 0, at_barrier_ = 0, yes_ = 0;
  Votes votes_{};
  uint32_t arrived_[kMaxWarps] = {}, alive_[kMaxWarps] = {};  // lanes of each warp
  unsigned char *shared_ = nullptr, *shared_allocation_ = nullptr;
  size_t shared_bytes_ = 0;
  void *scheduler_ = nullptr, *scheduler_tsan_ = nullptr;
  const void* scheduler_stack_ = nullptr;
  size_t scheduler_stack_bytes_ = 0;
  char barrier_tag_ = 0, start_tag_ = 0, warp_tags_[kMaxWarps] = {};  // what ThreadSanitizer knows barriers by
};

Block& current_block();

}  // namespace emulation
