#include "core/device/arena.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/support/messages.hpp"

namespace viaduct {
namespace {

using test::message_of;

int64_t address(const Tensor& t) { return int64_t(reinterpret_cast<intptr_t>(t.data)); }

TEST(Buffer, IsZeroedAlignedAndSwapsOwnership) {
  Buffer buffer(Device::cpu(), 10000);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 4096, 0u);
  for (int i = 0; i < 10000; ++i) ASSERT_EQ(static_cast<char*>(buffer.data())[i], 0);
  void* data = buffer.data();
  Buffer taken(std::move(buffer));
  EXPECT_EQ(taken.data(), data);
  EXPECT_EQ(buffer.data(), nullptr);
  EXPECT_THROW(taken.view(9000, {1001}, DType::u8), Error);
  EXPECT_EQ(address(taken.view(64, {2}, DType::f32)), address(taken.view(0, {1}, DType::u8)) + 64);
}

TEST(Buffer, ReleasesForeignMemoryOnce) {
  int released = 0;
  char memory[64];
  {
    Buffer a(Device::cpu(), memory, 64, [&] { ++released; }), b;
    b = std::move(a);
    EXPECT_EQ(released, 0);
  }
  EXPECT_EQ(released, 1);
}

TEST(BufferDeathTest, OnMetaHasAddressesAndNoMemory) {
  constexpr int64_t kMoreThanAnyHostHas = int64_t(1) << 43;
  Buffer buffer(Device::meta(), kMoreThanAnyHostHas);
  Tensor a = buffer.view(0, {16}, DType::f32), b = buffer.view(kMoreThanAnyHostHas - 64, {16}, DType::f32);
  EXPECT_NE(a.data, b.data);
  EXPECT_DEATH(static_cast<volatile char*>(b.data)[0] = 1, "");
}

TEST(Arena, GrowsFromBothEnds) {
  Arena arena(Device::cpu(), 4096);
  Tensor kept = arena.keep({10}, DType::f32);
  auto scope = arena.scope("test");
  Tensor temp = arena.temp({10}, DType::f32), next = arena.temp({100}, DType::u8);
  EXPECT_EQ(address(temp) - address(kept), 4096 - 64);
  EXPECT_EQ(address(temp) - address(next), 128);
  EXPECT_EQ(address(arena.keep({1}, DType::f64)) - address(kept), 64);
  for (const Tensor& t : {kept, temp, next}) EXPECT_EQ(address(t) % Arena::kAlignment, 0);
}

TEST(Arena, ScopesGiveTemporariesBack) {
  Arena arena(Device::cpu(), 1024);
  auto outer = arena.scope("outer");
  Tensor first = arena.temp({512}, DType::u8), inner_address{};
  {
    auto inner = arena.scope("inner");
    inner_address = arena.temp({512}, DType::u8);
  }
  EXPECT_EQ(arena.temp({512}, DType::u8).data, inner_address.data);
  EXPECT_NE(first.data, inner_address.data);
  EXPECT_EQ(arena.peak().bytes, 1024);
}

TEST(Arena, IsEmptyOnceAllIsGivenBack) {
  Arena arena(Device::cpu(), 1024);
  auto mark = arena.mark();
  {
    auto scope = arena.scope("test");
    arena.temp({1}, DType::u8), arena.keep({1}, DType::u8);
    EXPECT_FALSE(arena.empty());
  }
  EXPECT_FALSE(arena.empty());
  arena.release(mark);
  EXPECT_TRUE(arena.empty());
}

TEST(Arena, RefusesWhatBreaksTheOrder) {
  Arena arena(Device::cpu(), 4096);
  EXPECT_NE(message_of([&] { arena.temp({1}, DType::u8); }, Exit::crash).find("inside a scope"), std::string::npos);
  auto before = arena.mark();
  arena.keep({1}, DType::u8);
  auto after = arena.mark();
  arena.release(before);
  EXPECT_NE(message_of([&] { arena.release(after); }, Exit::crash).find("last-in first-out"), std::string::npos);
}

TEST(Arena, ScopesCloseWhenAnExceptionPasses) {
  Arena arena(Device::cpu(), 1024);
  try {
    auto scope = arena.scope("test");
    arena.temp({1024}, DType::u8);
    arena.temp({1}, DType::u8);
    FAIL() << "the arena is larger than it said";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("scope 'test'"), std::string::npos) << e.what();
  }
  EXPECT_TRUE(arena.empty());
}

// A step in two blocks; the second backward needs more temporaries than the first.
void step(Arena& arena) {
  auto start = arena.mark();
  for (int64_t width : {100, 300}) {
    arena.keep({width, 7}, DType::f32);
    auto scope = arena.scope("forward");
    arena.temp({width}, DType::bf16);
  }
  {
    auto scope = arena.scope("backward");
    arena.temp({1000}, DType::f64);
    auto inner = arena.scope("inner");
    arena.temp({3, 333}, DType::f32);
  }
  arena.release(start);
}

TEST(Arena, PlannedPeakIsExecutedPeak) {
  Arena plan(Device::meta());
  step(plan);
  EXPECT_TRUE(plan.empty());
  Arena run(Device::cpu(), plan.peak().bytes);
  step(run);
  EXPECT_EQ(run.peak().bytes, plan.peak().bytes);
  EXPECT_EQ(run.peak().kept, plan.peak().kept);
  EXPECT_EQ(run.peak().temp, plan.peak().temp);
  Arena tight(Device::cpu(), plan.peak().bytes - 1);
  EXPECT_THROW(step(tight), Error);
}

TEST(Arena, PlanSaysWhichScopesHoldThePeak) {
  Arena plan(Device::meta());
  step(plan);
  int64_t total = 0;
  for (const auto& [scope, bytes] : plan.peak().by_scope) total += bytes;
  EXPECT_EQ(total, plan.peak().bytes);
  EXPECT_EQ(plan.peak().by_scope.at("backward"), 8000);
  EXPECT_EQ(plan.peak().by_scope.at("inner"), 4032);  // a multiple of 64
  EXPECT_EQ(plan.peak().by_scope.at("step"), 2816 + 8448);
}

}  // namespace
}  // namespace viaduct
