// bfloat16 of the stand-in header: every value, and the rounding of floats.
#include <bit>
#include <cmath>

#include "kernels.hpp"

namespace viaduct::test {
namespace {

float value(unsigned bits) { return __bfloat162float(__ushort_as_bfloat16(static_cast<unsigned short>(bits))); }
unsigned rounded(float f) { return __bfloat16_as_ushort(__float2bfloat16(f)); }

TEST(Bfloat16, EveryValueComesBack) {
  for (unsigned u = 0; u < 0x10000; ++u) {
    EXPECT_EQ(std::bit_cast<uint32_t>(value(u)), u << 16);
    EXPECT_EQ(rounded(value(u)), std::isnan(value(u)) ? 0x7fffu : u);
    EXPECT_EQ(__hisnan(__ushort_as_bfloat16(static_cast<unsigned short>(u))), std::isnan(value(u)));
  }
}

TEST(Bfloat16, RoundsToNearestAndTiesToEven) {
  for (unsigned u = 0; u < 0x7f80; ++u) {
    float low = value(u), high = std::bit_cast<float>((u + 1) << 16), middle = std::bit_cast<float>(u << 16 | 0x8000);
    EXPECT_EQ(rounded(middle), u + (u & 1));
    EXPECT_EQ(rounded(std::nextafter(middle, low)), u);
    EXPECT_EQ(rounded(std::nextafter(middle, high)), u + 1);
    EXPECT_EQ(rounded(-middle), rounded(middle) | 0x8000);
  }
}

TEST(Bfloat16, PairsHoldTheirFirstInTheLowerHalf) {
  __nv_bfloat162 pair = __floats2bfloat162_rn(1.0f, -2.0f);
  EXPECT_EQ(std::bit_cast<uint32_t>(pair), 0xc0003f80u);
  EXPECT_EQ(__low2float(pair), 1.0f);
  EXPECT_EQ(__high2float(pair), -2.0f);
  EXPECT_EQ(__bfloat1622float2(pair).y, -2.0f);
  EXPECT_EQ(std::bit_cast<uint32_t>(__halves2bfloat162(__low2bfloat16(pair), __high2bfloat16(pair))), 0xc0003f80u);
}

}  // namespace
}  // namespace viaduct::test
