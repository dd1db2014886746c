// What lanes do where they meet: shuffles, votes, matrix fragments (PTX ISA: mma.m16n8k16, ldmatrix) and cp.async.
#include <cstdlib>
#include <cstring>

#include "fibers.hpp"
#include "sanitizers.hpp"

namespace emulation {
namespace {

// By words, because ThreadSanitizer intercepts memcpy and would ascribe it to whichever lane came last.
template <class Word>
void copy_words(void* to, const void* from, size_t bytes) {
  for (size_t i = 0; i < bytes / sizeof(Word); ++i)
    static_cast<volatile Word*>(to)[i] = static_cast<const volatile Word*>(from)[i];
}
void copy(void* to, const void* from, size_t bytes) {
  if (bytes % 4)
    copy_words<uint8_t>(to, from, bytes);
  else
    copy_words<uint32_t>(to, from, bytes);
}
void fill(void* to, uint32_t word) {
  for (int i = 0; i < 4; ++i) static_cast<volatile uint32_t*>(to)[i] = word;
}

float low_bf16(uint32_t x) { return bits<float>(x << 16); }
float high_bf16(uint32_t x) { return bits<float>(x & 0xffff0000u); }

constexpr uint32_t kUninitialised = 0xffffffffu;

struct MmaOperands {
  float* d;
  const uint32_t *a, *b;
};

void multiply(void** payloads) {
  float a[16][16], b[16][8], d[16][8];
  for (int l = 0; l < 32; ++l) {
    auto& x = *static_cast<MmaOperands*>(payloads[l]);
    int g = l / 4, t = l % 4 * 2;
    for (int i = 0; i < 4; ++i) {
      int row = g + i % 2 * 8, column = t + i / 2 * 8;
      a[row][column] = low_bf16(x.a[i]), a[row][column + 1] = high_bf16(x.a[i]);
      d[g + i / 2 * 8][t + i % 2] = x.d[i];
    }
    for (int i = 0; i < 2; ++i) b[t + i * 8][g] = low_bf16(x.b[i]), b[t + i * 8 + 1][g] = high_bf16(x.b[i]);
  }
  for (int i = 0; i < 16; ++i)
    for (int k = 0; k < 16; ++k)
      for (int j = 0; j < 8; ++j) d[i][j] += a[i][k] * b[k][j];
  for (int l = 0; l < 32; ++l)
    for (int i = 0; i < 4; ++i) static_cast<MmaOperands*>(payloads[l])->d[i] = d[l / 4 + i / 2 * 8][l % 4 * 2 + i % 2];
}

struct Matrices {
  uint32_t* r;
  const uint16_t* row;
};

template <bool transposed>
void distribute(void** payloads) {
  for (int m = 0; m < 4; ++m)
    for (int l = 0; l < 32; ++l) {
      int g = l / 4, t = l % 4 * 2;
      auto at = [&](int i, int j) -> uint32_t { return static_cast<Matrices*>(payloads[m * 8 + i])->row[j]; };
      static_cast<Matrices*>(payloads[l])->r[m] =
          transposed ? at(t, g) | at(t + 1, g) << 16 : at(g, t) | at(g, t + 1) << 16;
    }
}

// The .aligned instructions need the whole warp.
void meet_whole_warp(const char* what, Where where, void* payload, void (*meeting)(void**)) {
  Block& block = current_block();
  if (block.alive_lanes() != ~0u) block.die("an instruction of the whole warp, some lanes of which have ended");
  block.meet(~0u, what, where, payload, meeting);
}

}  // namespace

unsigned lane() { return unsigned(current_block().running().rank % kWarpSize); }
unsigned char* dynamic_shared() { return current_block().shared(); }
Votes block_barrier(bool vote, Where where) { return current_block().barrier(vote, where); }

void trap(Where where) {
  Fiber& me = current_block().running();
  me.what = "__trap", me.where = where;
  current_block().die("the kernel has trapped", &me);
}

void warp_barrier(unsigned mask, Where where) {
  Block& block = current_block();
  char* tag = block.warp_tag();
  release(tag);
  block.meet(mask, "__syncwarp", where, nullptr, nullptr);
  acquire(tag);
}

void shuffle(unsigned mask, void* value, size_t bytes, unsigned source, Where where) {
  struct Lane {
    alignas(16) char given[16];
    void* taken;
    size_t bytes;
    unsigned source;
  } me{{}, value, bytes, source % kWarpSize};
  copy(me.given, value, bytes);
  current_block().meet(mask, "shuffle", where, &me, [](void** payloads) {
    for (int l = 0; l < kWarpSize; ++l) {
      auto* to = static_cast<Lane*>(payloads[l]);
      if (!to) continue;
      auto* from = static_cast<Lane*>(payloads[to->source]);
      if (!from) current_block().die("a shuffle from a lane that the mask does not name or that has ended");
      copy(to->taken, from->given, to->bytes);
    }
  });
}

unsigned ballot(unsigned mask, bool vote, Where where) {
  struct Lane {
    bool vote;
    unsigned result;
  } me{vote, 0};
  current_block().meet(mask, "vote", where, &me, [](void** payloads) {
    unsigned result = 0;
    for (int l = 0; l < kWarpSize; ++l)
      if (payloads[l] && static_cast<Lane*>(payloads[l])->vote) result |= 1u << l;
    for (int l = 0; l < kWarpSize; ++l)
      if (payloads[l]) static_cast<Lane*>(payloads[l])->result = result;
  });
  return me.result;
}

void mma_bf16(float* d, const uint32_t* a, const uint32_t* b, Where where) {
  MmaOperands me{d, a, b};
  meet_whole_warp("mma", where, &me, multiply);
}

void load_matrices(uint32_t* r, const uint16_t* row, bool transposed, Where where) {
  Matrices me{r, row};
  if (transposed)
    meet_whole_warp("ldmatrix.trans", where, &me, distribute<true>);
  else
    meet_whole_warp("ldmatrix", where, &me, distribute<false>);
}

void copy_begins(void* to, const void* from, Where where) {
  Block& block = current_block();
  Fiber& me = block.running();
  me.what = "cp.async", me.where = where, me.mask = 0;
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % 16)
    block.die("cp.async of 16 bytes needs addresses that are multiples of 16", &me);
  if (!block.late_copies()) return;
  fill(to, kUninitialised);
  me.copies.push_back({to, from, 0});
}

void copies_commit() {
  Fiber& me = current_block().running();
  ++me.groups;
  for (Copy& c : me.copies)
    if (!c.group) c.group = me.groups;
}

void copies_wait(int pending) {
  Fiber& me = current_block().running();
  size_t arrived = 0;
  for (; arrived < me.copies.size(); ++arrived) {
    const Copy& c = me.copies[arrived];
    if (!c.group || c.group > me.groups - pending) break;
    if (c.from)
      copy(c.to, c.from, 16);
    else
      fill(c.to, 0);
  }
  me.copies.erase(me.copies.begin(), me.copies.begin() + ptrdiff_t(arrived));
}

}  // namespace emulation
