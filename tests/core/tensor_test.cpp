#include "core/tensor/tensor.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/messages.hpp"

namespace viaduct {
namespace {

using test::message_of;

TEST(Bf16, RoundsToNearestEven) {
  EXPECT_EQ(float(bf16(1.0f)), 1.0f);
  EXPECT_EQ(float(bf16(1.0f + 0x1p-8f)), 1.0f);                      // half-way, down to even
  EXPECT_EQ(float(bf16(1.0f + 0x1p-7f + 0x1p-8f)), 1.0f + 0x1p-6f);  // half-way, up to even
  EXPECT_EQ(float(bf16(1.0f + 0x1p-8f + 0x1p-20f)), 1.0f + 0x1p-7f);
  EXPECT_EQ(float(bf16(-1.0f - 0x1p-8f - 0x1p-20f)), -1.0f - 0x1p-7f);
}

TEST(Bf16, RoundTripIsExactForEveryNumber) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    bf16 b;
    b.bits = uint16_t(bits);
    if (std::isnan(float(b))) {
      EXPECT_TRUE(std::isnan(float(bf16(float(b)))));
    } else {
      ASSERT_EQ(bf16(float(b)).bits, b.bits);
    }
  }
}

TEST(Bf16, ExtremesStayWhatTheyAre) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(float(bf16(inf)), inf);
  EXPECT_EQ(float(bf16(-inf)), -inf);
  EXPECT_EQ(float(bf16(std::numeric_limits<float>::max())), inf);
  // A NaN whose payload lies in the bits that are cut off must not become infinite.
  EXPECT_TRUE(std::isnan(float(bf16(std::bit_cast<float>(0x7f800001u)))));
  EXPECT_TRUE(std::isnan(float(bf16(std::bit_cast<float>(0xffffffffu)))));
  bf16 assigned;
  assigned = -2.5f;
  EXPECT_EQ(assigned.bits, bf16(-2.5f).bits);
}

TEST(Shape, CountsElementsAndRows) {
  Shape s{8, 197, 768};
  EXPECT_EQ(s.numel(), 8 * 197 * 768);
  EXPECT_EQ(s.rows(), 8 * 197);
  EXPECT_EQ(s.last(), 768);
  EXPECT_EQ(s[-1], 768);
  EXPECT_EQ(to_string(s), "[8, 197, 768]");
  EXPECT_EQ(Shape({4, 0}).rows(), 0);
  EXPECT_EQ(Shape{}.numel(), 1);
  EXPECT_THROW((Shape{1, 2, 3, 4, 5}), Error);
}

TEST(Tensor, SlicesAndReshapesAreViews) {
  float values[12];
  Tensor t{values, {4, 3}, DType::f32, Device::cpu()};
  EXPECT_EQ(data<float>(t.slice(1, 3)), values + 3);
  EXPECT_EQ(t.slice(1, 3).shape, (Shape{2, 3}));
  EXPECT_EQ(t.slice(4, 4).numel(), 0);
  EXPECT_EQ(t.reshape({2, 6}).data, values);
  EXPECT_EQ(t.bytes(), 48);
  for (auto [begin, end] : {std::pair{-1, 2}, {2, 1}, {0, 5}}) EXPECT_THROW(t.slice(begin, end), Error);
  EXPECT_THROW(t.reshape({5}), Error);
  EXPECT_FALSE(Tensor{});
}

TEST(Tensor, IsReadOnlyAsWhatItHolds) {
  float value = 0;
  Tensor t{&value, {1}, DType::f32, Device::cpu()};
  EXPECT_NE(message_of([&] { data<double>(t); }, Exit::crash).find("another dtype"), std::string::npos);
  t.device = Device::meta();
  EXPECT_NE(message_of([&] { data<float>(t); }, Exit::crash).find("not in host memory"), std::string::npos);
}

TEST(DType, SizesAndNames) {
  EXPECT_EQ(size_of(DType::bf16), 2);
  EXPECT_EQ(size_of(DType::f64), 8);
  EXPECT_EQ(size_of(DType::u8), 1);
  EXPECT_STREQ(name_of(DType::i32), "int32");
  EXPECT_EQ(dispatch(DType::bf16, []<class T>() { return sizeof(T); }), 2u);
  EXPECT_NE(message_of([] { dispatch(DType::i32, []<class T>() {}); }, Exit::crash).find("found int32"),
            std::string::npos);
}

}  // namespace
}  // namespace viaduct
