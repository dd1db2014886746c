// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011).
// A draw is a pure function of (key, counter), so any rank, worker or rerun reproduces one sample alone.
// Usable on host and device.
#pragma once
#include <cstdint>

#ifdef __CUDACC__
#define VIADUCT_HD __host__ __device__
#else
#define VIADUCT_HD
#endif

namespace viaduct {

struct Philox {
  uint32_t v[4];
};

VIADUCT_HD inline Philox philox(uint64_t key, uint64_t counter_low, uint64_t counter_high = 0) {
  uint32_t c0 = uint32_t(counter_low), c1 = uint32_t(counter_low >> 32);
  uint32_t c2 = uint32_t(counter_high), c3 = uint32_t(counter_high >> 32);
  uint32_t k0 = uint32_t(key), k1 = uint32_t(key >> 32);
  for (int round = 0; round < 10; ++round) {
    uint64_t p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
    uint32_t n0 = uint32_t(p1 >> 32) ^ c1 ^ k0, n2 = uint32_t(p0 >> 32) ^ c3 ^ k1;
    c1 = uint32_t(p1), c3 = uint32_t(p0), c0 = n0, c2 = n2;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Uniform in [0, 1) from 24 bits, exact in fp32.
VIADUCT_HD inline float uniform(uint32_t bits) { return float(bits >> 8) * (1.0f / 16777216.0f); }

// What a random number is drawn for: part of every key, so that no two uses share a stream.
enum class Draw : uint32_t {
  init = 1,
  shuffle = 2,
  crop = 3,
  flip = 4,
  dropout = 5,
  substitute = 6,
  split = 7,
  scene = 8,
  caption = 9,    // which of a sample's texts
  mismatch = 10,  // whether a pair is a mismatch, and with whose text
  mask = 11       // which tokens are masked, and how
};

// The key of all draws for one sample in one epoch.
inline uint64_t sample_key(uint64_t seed, uint64_t epoch, uint64_t sample) {
  Philox p = philox(seed, sample, epoch);
  return uint64_t(p.v[1]) << 32 | p.v[0];
}

// A sequence of draws for one purpose: 53-bit doubles and unbiased integers, in order.
class RandomSequence {
 public:
  RandomSequence(uint64_t key, Draw purpose, uint32_t extra = 0) : key_(key), high_(uint64_t(purpose) << 32 | extra) {}
  uint32_t bits() {
    if (used_ == 4) block_ = philox(key_, next_++, high_), used_ = 0;
    return block_.v[used_++];
  }
  double uniform() {
    uint64_t high = bits() >> 5, low = bits() >> 6;
    return double(high * 67108864 + low) / 9007199254740992.0;
  }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  uint64_t below(uint64_t n) {  // multiply-shift on 64 bits; bias below n / 2^64
    uint64_t high = bits(), low = bits();
    return uint64_t((static_cast<unsigned __int128>(high << 32 | low) * n) >> 64);
  }

 private:
  uint64_t key_, high_, next_ = 0;
  Philox block_{};
  int used_ = 4;
};

}  // namespace viaduct
