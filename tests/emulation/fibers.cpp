// Fibers, the block barrier and the schedule.
#include "fibers.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

#include "sanitizers.hpp"

#ifndef __x86_64__
#error "the emulated device switches fibers with x86-64 instructions; write emulation_switch for this processor"
#endif

// Saves the callee's registers on this stack and its top in *save, and goes on where `load` was saved.
extern "C" void emulation_switch(void** save, void* load);
asm(R"(.text
.globl emulation_switch
.type emulation_switch,@function
emulation_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp,(%rdi); movq %rsi,%rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
.size emulation_switch,.-emulation_switch
)");

constinit thread_local uint3 threadIdx{}, blockIdx{};
constinit thread_local dim3 blockDim{}, gridDim{};

namespace emulation {
namespace {

constexpr size_t kPage = 4096, kStackBytes = 256 << 10;  // virtual: pages come when they are touched
constexpr size_t kSharedAlignment = 128, kGuardBytes = 256;
constexpr unsigned char kUninitialised = 0xff, kGuard = 0xcb;  // NaN in every type; no value likely to be written

bool same_place(const Where& a, const Where& b) {
  return a.line() == b.line() && a.column() == b.column() && !std::strcmp(a.file_name(), b.file_name());
}

const char* name_of(State s) {
  constexpr const char* names[] = {"ready", "waits at a block barrier", "waits for its warp", "ended"};
  return names[int(s)];
}

}  // namespace

Block& current_block() {
  static thread_local Block block;
  return block;
}

Settings settings_of_environment() {
  Settings s;
  const char *order = std::getenv("EMULATION_SCHEDULE"), *async = std::getenv("EMULATION_ASYNC");
  auto refuse = [](const char* name, const char* expected, const char* found) {
    std::fprintf(stderr, "emulation: %s must be %s, found \"%s\"\n", name, expected, found);
    std::abort();
  };
  if (order && !std::strcmp(order, "reverse")) {
    s.order = Settings::reverse;
  } else if (order && std::strcmp(order, "forward")) {
    char* end;
    s.order = Settings::random, s.seed = std::strtoull(order, &end, 10);
    if (*end || end == order) refuse("EMULATION_SCHEDULE", "forward, reverse or a number", order);
  }
  s.late_copies = !async || std::strcmp(async, "early");
  if (async && s.late_copies && std::strcmp(async, "late")) refuse("EMULATION_ASYNC", "late or early", async);
  return s;
}

void Block::die(const char* problem, const Fiber* culprit) {
  std::fprintf(stderr, "emulation: %s, in block (%u, %u, %u) of (%u, %u, %u)\n", problem, blockIdx.x, blockIdx.y,
               blockIdx.z, gridDim.x, gridDim.y, gridDim.z);
  auto describe = [](const char* kind, const Fiber& f) {
    std::fprintf(stderr, "  %s (%u, %u, %u) %s: %s, %s:%u in %s", kind, f.index.x, f.index.y, f.index.z,
                 name_of(f.state), f.what, f.where.file_name(), f.where.line(), f.where.function_name());
    if (f.mask) std::fprintf(stderr, ", mask %08x", f.mask);
    std::fprintf(stderr, "\n");
  };
  if (culprit) describe("here: thread", *culprit);
  int shown = 0;
  for (int i = 0; i < threads_ && shown < 8; ++i)
    if (&fibers_[i] != culprit && fibers_[i].state != State::ended) describe("thread", fibers_[i]), ++shown;
  if (live_ > shown + (culprit != nullptr))
    std::fprintf(stderr, "  and %d more\n", live_ - shown - (culprit != nullptr));
  std::abort();
}

void Block::entry() {
  Block& b = current_block();
  if (__sanitizer_finish_switch_fiber)
    __sanitizer_finish_switch_fiber(nullptr, &b.scheduler_stack_, &b.scheduler_stack_bytes_);
  acquire(&b.start_tag_);
  (*b.thread_)();
  release(&b.start_tag_);
  b.end_of_thread();
  b.suspend();
  __builtin_unreachable();
}

// A thread that has ended takes no part in barriers and warp functions: others may have waited for it alone.
void Block::end_of_thread() {
  int warp = running_->rank / kWarpSize;
  running_->state = State::ended;
  --live_;
  alive_[warp] &= ~(1u << running_->rank % kWarpSize);
  if (live_ && at_barrier_ == live_) release_barrier();
  for (int i = 0; i < kWarpSize && warp * kWarpSize + i < threads_; ++i) {
    const Fiber& f = fibers_[warp * kWarpSize + i];
    if (f.state == State::at_warp_meeting && all_came(warp, f.mask)) hold_meeting(warp, f);
  }
}

void Block::resume(Fiber& f) {
  running_ = &f;
  threadIdx = f.index;
  void* own_stack = nullptr;
  if (__sanitizer_start_switch_fiber) __sanitizer_start_switch_fiber(&own_stack, f.stack + kPage, kStackBytes - kPage);
  if (__tsan_switch_to_fiber) __tsan_switch_to_fiber(f.tsan, 1);  // 1: the switch itself orders nothing
  emulation_switch(&scheduler_, f.stack_pointer);
  if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(own_stack, nullptr, nullptr);
}

void Block::suspend() {
  Fiber& f = *running_;
  if (__sanitizer_start_switch_fiber)
    __sanitizer_start_switch_fiber(f.state == State::ended ? nullptr : &f.asan_stack, scheduler_stack_,
                                   scheduler_stack_bytes_);
  if (__tsan_switch_to_fiber) __tsan_switch_to_fiber(scheduler_tsan_, 1);
  emulation_switch(&f.stack_pointer, scheduler_);
  if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(f.asan_stack, nullptr, nullptr);
}

void Block::prepare(Fiber& f, int rank) {
  if (!f.stack) {
    void* stack =
        mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack, kPage, PROT_NONE)) throw std::bad_alloc();
    f.stack = static_cast<char*>(stack);
    if (__tsan_create_fiber) f.tsan = __tsan_create_fiber(0);
  }
  unsigned r = unsigned(rank);
  f.rank = rank;
  f.index = {r % blockDim.x, r / blockDim.x % blockDim.y, r / (blockDim.x * blockDim.y)};
  f.state = State::ready, f.what = "start", f.where = {}, f.mask = 0;
  f.copies.clear(), f.groups = 0;
  void** top = reinterpret_cast<void**>(f.stack + kStackBytes);
  *--top = nullptr;  // where entry() would return to; the stack is aligned as after a call
  *--top = reinterpret_cast<void*>(&entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  f.stack_pointer = top;
}

Block::~Block() {
  for (Fiber& f : fibers_) {
    if (f.stack) munmap(f.stack, kStackBytes);
    if (f.tsan) __tsan_destroy_fiber(f.tsan);
  }
  if (shared_allocation_) unpoison(shared_, shared_bytes_ + kGuardBytes);
  std::free(shared_allocation_);
}

void Block::prepare_shared(size_t bytes) {
  if (bytes != shared_bytes_ || !shared_) {
    if (shared_) unpoison(shared_, shared_bytes_ + kGuardBytes);
    std::free(shared_allocation_);
    shared_bytes_ = bytes;
    size_t total = (bytes + kGuardBytes + kSharedAlignment - 1) / kSharedAlignment * kSharedAlignment;
    shared_ = shared_allocation_ = static_cast<unsigned char*>(std::aligned_alloc(kSharedAlignment, total));
    if (!shared_) throw std::bad_alloc();
    std::memset(shared_ + bytes, kGuard, kGuardBytes);
    poison(shared_ + bytes, kGuardBytes);
  }
  std::memset(shared_, kUninitialised, bytes);
}

void Block::check_shared() {
  const unsigned char *guard = shared_ + shared_bytes_, *end = guard + kGuardBytes;
  auto* written = std::find_if(guard, end, [](unsigned char c) { return c != kGuard; });
  if (written == end) return;
  char text[128];
  std::snprintf(text, sizeof text, "a thread has written to byte %td of %zu bytes of dynamic shared memory",
                written - shared_, shared_bytes_);
  die(text);
}

uint32_t Block::random(uint32_t below) {  // splitmix64
  uint64_t z = random_state_ += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return uint32_t(z >> 32) % below;
}

// Runs the ready lanes of a warp once, or again and again when the warp is to run ahead of the others.
bool Block::run_warp(int warp) {
  bool any = false, random_order = settings_.order == Settings::random;
  int order[kWarpSize];
  for (int i = 0; i < kWarpSize; ++i) order[i] = settings_.order == Settings::reverse ? kWarpSize - 1 - i : i;
  if (random_order)
    for (int i = kWarpSize - 1; i > 0; --i) std::swap(order[i], order[random(uint32_t(i + 1))]);
  int rounds = !random_order ? 1 : random(4) ? 1 + int(random(4)) : 1 << 20;
  for (bool progress = true; progress && rounds > 0; --rounds) {
    progress = false;
    for (int lane : order) {
      int rank = warp * kWarpSize + lane;
      if (rank < threads_ && fibers_[rank].state == State::ready) resume(fibers_[rank]), progress = any = true;
    }
  }
  return any;
}

void Block::run(dim3 block, size_t shared_bytes, const Settings& settings, uint64_t seed,
                const std::function<void()>& thread) {
  blockDim = block;
  threads_ = live_ = int(block.x * block.y * block.z);
  at_barrier_ = yes_ = 0;
  thread_ = &thread, settings_ = settings, random_state_ = seed;
  for (int w = 0; w < kMaxWarps; ++w) {
    int lanes = std::clamp(threads_ - w * kWarpSize, 0, kWarpSize);
    arrived_[w] = 0, alive_[w] = lanes == kWarpSize ? ~0u : (1u << lanes) - 1;
  }
  if (__tsan_get_current_fiber) scheduler_tsan_ = __tsan_get_current_fiber();
  if (int(fibers_.size()) < threads_) fibers_.resize(threads_);
  for (int i = 0; i < threads_; ++i) prepare(fibers_[i], i);
  prepare_shared(shared_bytes);
  release(&start_tag_);
  int warps = (threads_ + kWarpSize - 1) / kWarpSize, order[kMaxWarps];
  for (int i = 0; i < warps; ++i) order[i] = settings.order == Settings::reverse ? warps - 1 - i : i;
  while (live_) {
    bool any = false;
    if (settings.order == Settings::random)
      for (int i = warps - 1; i > 0; --i) std::swap(order[i], order[random(uint32_t(i + 1))]);
    for (int i = 0; i < warps; ++i) any |= run_warp(order[i]);
    if (!any && live_)
      die("deadlock: not all threads come to the barrier, or not all lanes of a mask to their warp function");
  }
  acquire(&start_tag_);
  check_shared();
}

void Block::release_barrier() {
  votes_ = {yes_, at_barrier_};
  yes_ = at_barrier_ = 0;
  for (int i = 0; i < threads_; ++i)
    if (fibers_[i].state == State::at_block_barrier) fibers_[i].state = State::ready;
}

Votes Block::barrier(bool vote, Where where) {
  Fiber& me = *running_;
  me.what = "__syncthreads", me.where = where, me.mask = 0;
  for (int i = 0; at_barrier_ && i < threads_; ++i)
    if (fibers_[i].state == State::at_block_barrier) {
      if (!same_place(fibers_[i].where, where))
        die("divergence: the threads of a block come to different barriers", &me);
      break;
    }
  yes_ += vote;
  release(&barrier_tag_);
  if (++at_barrier_ == live_) {
    release_barrier();
  } else {
    me.state = State::at_block_barrier;
    suspend();
  }
  acquire(&barrier_tag_);
  return votes_;
}

void Block::meet(uint32_t mask, const char* what, Where where, void* payload, void (*meeting)(void**)) {
  Fiber& me = *running_;
  int warp = me.rank / kWarpSize, lane = me.rank % kWarpSize;
  me.what = what, me.where = where, me.mask = mask, me.payload = payload, me.meeting = meeting;
  if (!(mask >> lane & 1)) die("a lane takes part in a warp function whose mask does not name it", &me);
  arrived_[warp] |= 1u << lane;
  if (all_came(warp, mask)) return hold_meeting(warp, me);
  me.state = State::at_warp_meeting;
  suspend();
}

void Block::hold_meeting(int warp, const Fiber& last) {
  void* payloads[kWarpSize] = {};
  for (int i = 0; i < kWarpSize; ++i) {
    if (!((last.mask & arrived_[warp]) >> i & 1)) continue;
    Fiber& other = fibers_[warp * kWarpSize + i];
    if (other.mask != last.mask || std::strcmp(other.what, last.what))
      die("divergence: the lanes of a warp meet in different functions or with different masks", &last);
    payloads[i] = other.payload;
    if (other.state == State::at_warp_meeting) other.state = State::ready;
  }
  arrived_[warp] &= ~last.mask;
  if (last.meeting) last.meeting(payloads);
}

void run_grid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread) {
  static std::mutex one_grid_at_a_time;  // static __shared__ variables under AddressSanitizer are one copy for all
  std::unique_lock lock(one_grid_at_a_time, std::defer_lock);
  if (sanitized()) lock.lock();
  Settings settings = settings_of_environment();
  int64_t blocks = int64_t(grid.x) * grid.y * grid.z;
#pragma omp parallel for schedule(dynamic) if (blocks > 1 && !sanitized())
  for (int64_t i = 0; i < blocks; ++i) {
    constexpr uint64_t prime = 2654435761u;
    int64_t b = i;
    if (settings.order == Settings::reverse) b = blocks - 1 - i;
    if (settings.order == Settings::random) b = int64_t((uint64_t(i) * prime + settings.seed) % uint64_t(blocks));
    gridDim = grid;
    blockIdx = {unsigned(b % grid.x), unsigned(b / grid.x % grid.y), unsigned(b / (int64_t(grid.x) * grid.y))};
    current_block().run(block, shared_bytes, settings, settings.seed * prime + uint64_t(b), thread);
  }
}

}  // namespace emulation
