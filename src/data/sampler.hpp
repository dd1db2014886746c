// Which sample comes when: pure functions of (seed, epoch, position), so that seeking is free, the state of a run is
// one integer (steps done), and neither the number of ranks nor of workers changes what a global batch holds.
#pragma once
#include <algorithm>
#include <cmath>

#include "core/base/check.hpp"
#include "core/base/philox.hpp"
#include "core/base/range.hpp"

namespace viaduct {

// A permutation of [0, size) per epoch, without a table: a Feistel network over a x b >= size in mixed radix; a value
// outside [0, size) is sent through again until it falls inside (cycle walking; a x b - size < a, so hardly ever). One
// radix is even, because rounds of two odd ones make even permutations only.
class Sampler {
 public:
  Sampler(int64_t size, uint64_t seed, bool shuffle) : size_(size), seed_(seed), shuffle_(shuffle) {
    expect(size > 0, "a sampler needs at least one sample");
    a_ = uint64_t(align_up(int64_t(std::ceil(std::sqrt(double(size)))), 2));
    b_ = (uint64_t(size) + a_ - 1) / a_;
  }
  int64_t size() const { return size_; }

  int64_t at(uint64_t epoch, int64_t position) const {
    expect(position >= 0 && position < size_, "a position is outside the epoch");
    if (!shuffle_) return position;
    uint64_t x = uint64_t(position);
    do x = permute(epoch, x);
    while (x >= uint64_t(size_));
    return int64_t(x);
  }

 private:
  static constexpr uint32_t kRounds = 16;  // with 10, the orders of six samples were not equally likely
  uint64_t permute(uint64_t epoch, uint64_t x) const {
    uint64_t high = x / b_, low = x % b_;
    for (uint32_t round = 0; round < kRounds; round += 2) {
      high = (high + offset(epoch, round, low, a_)) % a_;
      low = (low + offset(epoch, round + 1, high, b_)) % b_;
    }
    return high * b_ + low;
  }
  uint64_t offset(uint64_t epoch, uint32_t round, uint64_t half, uint64_t radix) const {
    Philox p = philox(seed_, half | uint64_t(round) << 48, epoch << 8 | uint64_t(Draw::shuffle));
    uint64_t bits = uint64_t(p.v[1]) << 32 | p.v[0];
    return uint64_t(static_cast<unsigned __int128>(bits) * radix >> 64);
  }

  int64_t size_;
  uint64_t seed_, a_ = 1, b_ = 1;
  bool shuffle_;
};

// How an epoch is cut: global batch k is the next ranks x accumulate x batch_size positions (the last may be short),
// rank r has a contiguous slice of it, and micro-batch m a contiguous piece of that. Trailing pieces may be empty.
struct BatchPlan {
  int64_t samples = 0, batch_size = 1, accumulate = 1, ranks = 1;

  int64_t global_batch() const { return ranks * accumulate * batch_size; }
  int64_t steps_per_epoch() const { return ceil_div(samples, global_batch()); }
  int64_t epoch_of(int64_t step) const { return step / steps_per_epoch(); }
  // Samples of the whole run that come before this step.
  int64_t samples_before(int64_t step) const {
    return epoch_of(step) * samples + step % steps_per_epoch() * global_batch();
  }
  // Positions within the epoch.
  Range global_batch_of(int64_t step) const {
    int64_t begin = step % steps_per_epoch() * global_batch();
    return {begin, std::min(begin + global_batch(), samples)};
  }
  Range micro_batch(int64_t step, int64_t rank, int64_t m) const {
    int64_t begin = step % steps_per_epoch() * global_batch() + (rank * accumulate + m) * batch_size;
    return {std::min(begin, samples), std::min(begin + batch_size, samples)};
  }
};

}  // namespace viaduct
