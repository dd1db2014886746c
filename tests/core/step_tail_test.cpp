// What the case table cannot say about the step tail: sums over many ranks, and every bit of a double.
#include "core/ops/step_tail.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "tests/support/test_ctx.hpp"

namespace viaduct::test {
namespace {

using namespace ops::step_sum;
using Sums = std::array<double, ops::step_sum::count>;  // loss, terms, quarantined, stop, nonfinite

Tensor view(Sums& s) { return {s.data(), {int64_t(s.size())}, DType::f64, Device::cpu()}; }

// What every rank reads when all have written theirs and the slots were added up.
template <class T>
Sums summed(std::vector<Sums> ranks) {
  TestCtx ctx(DType::f32);
  std::vector<T> sum(ops::kTailSlot), slot(ops::kTailSlot);
  auto tensor = [](std::vector<T>& v) { return Tensor{v.data(), {int64_t(v.size())}, dtype_of<T>, Device::cpu()}; };
  for (Sums& mine : ranks) {
    ops::write_step_tail(ctx, tensor(slot), view(mine));
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += slot[i];
  }
  Sums all{};
  ops::read_step_tail(ctx, view(all), tensor(sum));
  return all;
}

TEST(StepTail, SumsOverManyRanksAreExact) {
  std::vector<Sums> ranks;
  Sums expected{};
  for (int r = 0; r < ops::kTailMaxRanks; ++r) {
    // Losses on a grid of 2^-20, so that the double sum beside them is exact too; of both signs, with all digits in
    // use.
    ranks.push_back({double((r * 7919LL) % (1 << 30) - (1 << 29)) / (1 << 20), double(2047 + r * 65537LL),
                     double(r % 3), double(r % 2), double(r % 5 == 0)});
    for (size_t i = 0; i < expected.size(); ++i) expected[i] += ranks.back()[i];
  }
  EXPECT_EQ(summed<float>(ranks), expected);
  EXPECT_EQ(summed<double>(ranks), expected);
}

TEST(StepTail, KeepsEveryBitOfALossAbove2ToTheMinus64) {
  for (double x : {0.0, 1.0 / 3, 6.9077552789821368, 0x1p-60, 123456789.12345679, 0x1p50 - 0.125})
    for (double value : {x, -x}) EXPECT_EQ(summed<float>({Sums{value}})[loss], value);
  EXPECT_EQ(summed<float>({Sums{0x1.8p-64}})[loss], 0x1p-64);
  EXPECT_EQ(summed<float>({Sums{-0x1.8p-64}})[loss], -0x1p-64);
}

TEST(StepTail, ALossThatIsNotFiniteIsAFlagAndNotANumber) {
  const double nan = std::nan(""), infinite = std::numeric_limits<double>::infinity();
  Sums found = summed<float>({{nan, 8}, {2.5, 8}, {-infinite, 8}, {0x1p50, 8}});
  EXPECT_EQ(found, (Sums{2.5, 32, 0, 0, 3}));
}

TEST(StepTail, LossesAreSummedInDouble) {
  TestCtx ctx(DType::f32);
  std::vector<float> losses(1 << 20, 0.1f);
  Sums sums{};
  ops::add_losses(ctx, view(sums), {losses.data(), {int64_t(losses.size())}, DType::f32, Device::cpu()}, 1 << 20);
  EXPECT_EQ(sums, (Sums{double(0.1f) * (1 << 20), 1 << 20}));
}

TEST(StepTail, PassesOfAStepAddUp) {
  TestCtx ctx(DType::f32);
  Sums sums{};
  for (int pass = 0; pass < 3; ++pass) {
    double counts[] = {double(pass + 1), double(pass == 1)};
    ops::add_counts(ctx, view(sums), {counts, {2}, DType::f64, Device::cpu()});
    float losses[] = {0.5f, 0.25f};
    ops::add_losses(ctx, view(sums), {losses, {2}, DType::f32, Device::cpu()}, 2);
  }
  EXPECT_EQ(sums, (Sums{2.25, 6, 6, 1, 0}));
}

}  // namespace
}  // namespace viaduct::test
