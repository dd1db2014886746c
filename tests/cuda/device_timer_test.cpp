#include "core/device/device_timer.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "core/device/buffer.hpp"
#include "core/device/replay.hpp"

namespace viaduct::test {
namespace {

using Clock = std::chrono::steady_clock;

// What is timed lies between two readings of the clock, with a wait for the device before the second.
void expect_within_the_hosts_time(Device device, bool graph) {
  Stream stream(device);
  Buffer memory(device, 32 << 20);
  Tensor half = memory.view(0, {16 << 20}, DType::u8), other = memory.view(16 << 20, {16 << 20}, DType::u8);
  DeviceTimer timer(stream);
  Replay replay(graph);
  auto work = [&] { replay.run("copy", stream, [&] { transfer(half, other, stream); }); };
  double shortest = 1e30;
  for (int i = 0; i < 4; ++i) {
    stream.synchronize();
    auto begin = Clock::now();
    timer.start();
    work();
    timer.stop();
    const double seconds = timer.seconds();
    EXPECT_LE(seconds, std::chrono::duration<double>(Clock::now() - begin).count() + 1e-5);  // the events' resolution
    shortest = std::min(shortest, seconds);
  }
  EXPECT_GT(shortest, 0);
}

TEST(DeviceTimer, CountsTheWorkBetweenStartAndStop) {
  for (bool graph : {false, true}) expect_within_the_hosts_time(Device::cuda(), graph);
  expect_within_the_hosts_time(Device::cpu(), false);
}

TEST(DeviceTimer, TwoTimersOfAStreamNest) {
  for (Device device : {Device::cuda(), Device::cpu()}) {
    Stream stream(device);
    Buffer memory(device, 8 << 20);
    Tensor all = memory.view(0, {8 << 20}, DType::u8);
    DeviceTimer outer(stream), inner(stream);
    outer.start();
    fill_zero(all, stream);
    inner.start();
    fill_zero(all, stream);
    inner.stop();
    outer.stop();
    EXPECT_LE(inner.seconds(), outer.seconds());
  }
}

TEST(DeviceTimer, OnTheCpuTimePassesBetweenStartAndStopOnly) {
  Stream stream(Device::cpu());
  DeviceTimer timer(stream);
  timer.start();
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  timer.stop();
  const double seconds = timer.seconds();
  EXPECT_GE(seconds, 5e-3);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(seconds, timer.seconds());
}

}  // namespace
}  // namespace viaduct::test
