// Gradients as they travel: bf16 against exact sums, fixed point in any order and division.
#include "comm/wire.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <mutex>

#include "comm/grad_sync.hpp"
#include "comm/shards.hpp"
#include "comm/thread_comm.hpp"
#include "core/base/philox.hpp"
#include "tests/comm/run_program.hpp"
#include "tests/comm/wire_steps.hpp"
#include "tests/support/messages.hpp"

namespace viaduct {
namespace {

using test::gradients_of_step;

template <class T>
Tensor tensor(std::vector<T>& v) {
  return {v.data(), {int64_t(v.size())}, dtype_of<T>, Device::cpu()};
}

TEST(Wire, Bf16SumsAreThoseOfTheRoundedAddendsRoundedOnce) {
  for (const char* strategy : {"ddp", "fast_ddp", "zero1", "zero2"})
    for (int ranks : {1, 2, 4, 8}) run_ranks(ranks, [&](Communicator& comm) { test::check_bf16(comm, strategy); });
}

TEST(Wire, Bf16OverMessagesIsTheSame) {
  test::Ended ended = test::run_scenario("bf16_wire", 4);
  EXPECT_EQ(ended.code, 0) << ended.output;
}

// Counts what a strategy hands to the collectives.
class Counted final : public Communicator {
 public:
  Counted(Communicator& comm, std::shared_ptr<std::atomic<int64_t>> bytes) : comm_(&comm), bytes_(std::move(bytes)) {}
  Counted(std::unique_ptr<Communicator> comm, std::shared_ptr<std::atomic<int64_t>> bytes)
      : owned_(std::move(comm)), comm_(owned_.get()), bytes_(std::move(bytes)) {}
  int rank() const override { return comm_->rank(); }
  int size() const override { return comm_->size(); }
  const char* name(Device) const override { return "counted"; }
  void all_reduce(Tensor t, Reduce op, Stream& s) override { *bytes_ += t.bytes(), comm_->all_reduce(t, op, s); }
  void reduce_scatter(Tensor a, Tensor b, Reduce op, Stream& s) override { comm_->reduce_scatter(a, b, op, s); }
  void all_gather(Tensor a, Tensor b, Stream& s) override { comm_->all_gather(a, b, s); }
  void reduce_parts(Tensor t, const std::vector<Range>& parts, Reduce op, Stream& s) override {
    *bytes_ += t.bytes(), comm_->reduce_parts(t, parts, op, s);
  }
  void gather_parts(Tensor t, const std::vector<Range>& parts, Stream& s) override { comm_->gather_parts(t, parts, s); }
  void broadcast(Tensor t, int root, Stream& s) override { comm_->broadcast(t, root, s); }
  void barrier() override { comm_->barrier(); }
  std::vector<std::string> all_gather_text(const std::string& mine) override { return comm_->all_gather_text(mine); }
  std::unique_ptr<Communicator> duplicate() override { return std::make_unique<Counted>(comm_->duplicate(), bytes_); }

 private:
  std::unique_ptr<Communicator> owned_;
  Communicator* comm_;
  std::shared_ptr<std::atomic<int64_t>> bytes_;
};

int64_t bytes_of_a_step(const char* strategy, DType wire) {
  auto bytes = std::make_shared<std::atomic<int64_t>>(0);
  run_ranks(2, [&](Communicator& comm) {
    Counted counted(comm, bytes);
    gradients_of_step(counted, {.strategy = strategy, .bucket_mb = 0.05, .wire = {.type = wire}},
                      [](int, int64_t i) { return float(i); });
  });
  return *bytes / 2;
}

TEST(Wire, Bf16HalvesTheBytes) {
  constexpr int64_t tail = ParameterStore::kTailSlot * 4;
  for (const char* strategy : {"ddp", "fast_ddp", "zero1", "zero2"})
    EXPECT_EQ(bytes_of_a_step(strategy, DType::bf16) - tail, (bytes_of_a_step(strategy, DType::f32) - tail) / 2)
        << strategy;
}

// The same addends, however they are divided among ranks and passes and in whichever order: the same bits.
TEST(Wire, FixedPointSumsDoNotDependOnTheDivision) {
  constexpr int kLeaves = 8;
  auto gradient = [](int leaf, int64_t i) {
    const Philox p = philox(7, uint64_t(i), uint64_t(leaf));
    return float(std::ldexp(double(int32_t(p.v[0])), -31 - int(p.v[1] % 12)));
  };
  std::vector<float> first;
  bool fp32_differs = false;
  for (DType wire : {DType::i64, DType::f32}) {
    first.clear();
    for (const char* strategy : {"ddp", "fast_ddp", "zero1", "zero2"})
      for (int ranks : {1, 2, 4, 8})
        for (bool reversed : {false, true}) {
          if (reversed && ranks != 2) continue;
          std::vector<float> sums;
          std::mutex mutex;
          run_ranks(ranks, [&](Communicator& comm) {
            auto mine = gradients_of_step(
                comm, {.strategy = strategy, .bucket_mb = 0.05, .wire = {wire, kLeaves}},
                [&](int leaf, int64_t i) { return gradient(reversed ? kLeaves - 1 - leaf : leaf, i); },
                kLeaves / ranks);
            std::lock_guard lock(mutex);
            sums.resize(std::max(sums.size(), size_t(mine.range.end)));
            std::copy(mine.values.begin(), mine.values.end(), sums.begin() + mine.range.begin);
          });
          if (first.empty()) first = sums;
          if (wire == DType::i64)
            ASSERT_EQ(first, sums) << strategy << ", " << ranks << " ranks";
          else
            fp32_differs |= first != sums;
        }
  }
  EXPECT_TRUE(fp32_differs) << "the addends of this test do not tell fixed point from fp32";
}

TEST(Wire, FixedPointRoundsToItsUnitAndBackToNearest) {
  std::vector<float> x{0, 1, -1.5f, 0x1p-44f, 0x1p-45f, 0x3p-45f, -0x1p-46f, 1e5f, std::nanf(""), INFINITY}, back(10);
  std::vector<int64_t> units(10);
  wire_convert(tensor(units), tensor(x));
  EXPECT_EQ(units, (std::vector<int64_t>{0, 1LL << 44, -3 * (1LL << 43), 1, 0, 2, 0, 100000LL << 44, 0, 0}));
  wire_convert(tensor(back), tensor(units));
  EXPECT_EQ(back, (std::vector<float>{0, 1, -1.5f, 0x1p-44f, 0, 0x1p-43f, 0, 1e5f, 0, 0}));
}

std::string refused_gradient(float value, int64_t addends, StepTail* tail = nullptr) {
  return test::message_of(
      [&] {
        run_ranks(2, [&](Communicator& comm) {
          auto end = gradients_of_step(comm, {.strategy = "zero2", .wire = {DType::i64, addends}},
                                       [&](int leaf, int64_t i) { return leaf == 1 && i == 100 ? value : 1.f; });
          if (tail && comm.rank() == 0) *tail = end.tail;
        });
      },
      Exit::diverged);
}

TEST(Wire, WhatFixedPointCannotHoldIsRefusedBeforeItIsAdded) {
  EXPECT_EQ(refused_gradient(0x1p18f * 0.99f, 2), "no error");
  const std::string message = refused_gradient(0x1p18f, 2);
  EXPECT_NE(message.find("a gradient of block0 is 2.62e+05 in one pass; parallel.reduction = invariant adds 2"),
            std::string::npos)
      << message;
  for (float value : {std::nanf(""), INFINITY}) {
    StepTail tail;
    EXPECT_EQ(refused_gradient(value, 2, &tail), "no error");
    EXPECT_EQ(tail.nonfinite, 1);
  }
}

}  // namespace
}  // namespace viaduct
