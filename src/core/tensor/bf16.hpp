// bfloat16 on the host: storage with round-to-nearest-even; all arithmetic is done in float.
#pragma once
#include <bit>
#include <cstdint>

namespace viaduct {

struct bf16 {
  uint16_t bits = 0;
  bf16() = default;
  explicit bf16(float f) {
    uint32_t u = std::bit_cast<uint32_t>(f);
    bits = (u & 0x7fffffffu) > 0x7f800000u ? uint16_t(u >> 16 | 0x40)  // NaN stays NaN
                                           : uint16_t((u + 0x7fffu + (u >> 16 & 1)) >> 16);
  }
  explicit bf16(double d) : bf16(float(d)) {}
  // Stores the bits as a number: copying a temporary bf16 instead would keep loops from becoming vector code.
  bf16& operator=(float f) {
    bits = bf16(f).bits;
    return *this;
  }
  operator float() const { return std::bit_cast<float>(uint32_t(bits) << 16); }
};
static_assert(sizeof(bf16) == 2);

}  // namespace viaduct
