#include <cmath>

#include "core/ops/step_tail.hpp"
#include "tests/support/op_case.hpp"

namespace viaduct::test {
namespace {

using namespace ops::step_sum;
constexpr auto kF64 = Operand::Type::f64;
const Shape kSums{ops::step_sum::count};

OpCase counts() {
  return {.name = "add_counts",
          .operands = {in("counts", {2}, listed({3, 1}), kF64), inout("sums", kSums, kF64, listed({1.5, 8, 5, 0, 1}))},
          .run = [](Ctx& ctx, const Tensors& t) { ops::add_counts(ctx, t["sums"], t["counts"]); },
          .reference = reference([](auto& v) { v["sums"][quarantined] += 3, v["sums"][stop] += 1; }),
          .dtypes = {DType::f32, DType::f64},
          .exact = true};
}

OpCase add(int64_t n) {
  return {.name = "add_losses/" + std::to_string(n),
          .operands = {in("losses", {n}, normal(3, 2), Operand::Type::stat),
                       inout("sums", kSums, kF64, listed({1.5, 8, 5, 1, 0}))},
          .run = [=](Ctx& ctx, const Tensors& t) { ops::add_losses(ctx, t["sums"], t["losses"], 7); },
          .reference = reference([](auto& v) {
            for (auto x : v["losses"]) v["sums"][loss] += x;
            v["sums"][terms] += 7;
          }),
          .dtypes = {DType::f32, DType::f64}};
}

// Over the wire and back, of values that an fp32 reference holds too.
OpCase sent(const std::string& name, std::vector<double> sums, std::vector<double> arrives) {
  return {.name = "step_tail/" + name,
          .operands = {in("sums", kSums, listed(sums), kF64), out("received", kSums, kF64)},
          .run =
              [](Ctx& ctx, const Tensors& t) {
                auto scope = ctx.arena.scope("test");
                Tensor slot = ctx.arena.temp({ops::kTailSlot}, DType::f32);
                ops::write_step_tail(ctx, slot, t["sums"]);
                ops::read_step_tail(ctx, t["received"], slot);
              },
          .reference = reference([=](auto& v) {
            for (size_t i = 0; i < arrives.size(); ++i) v["received"][i] = arrives[i];
          }),
          .dtypes = {DType::f32},
          .exact = true};
}
OpCase sent(const std::string& name, const std::vector<double>& sums) { return sent(name, sums, sums); }

const AddCases rows{{
    counts(),
    add(0),
    add(1),
    add(1000),
    sent("positive", {123.25, 65'536, 3, 1, 2}),
    sent("negative", {-0x1.23456p-3, 1, 0, 0, 0}),
    sent("tiny_negative", {-0x1p-60, 1, 0, 0, 0}),
    sent("large", {-0x1.fffffep49, 0x1p40, 0, 0, 0}),
    sent("not_a_number", {NAN, 8, 0, 0, 0}, {0, 8, 0, 0, 1}),
    sent("infinite", {-INFINITY, 8, 0, 1, 0}, {0, 8, 0, 1, 1}),
    sent("too_large", {0x1p50, 8, 0, 0, 2}, {0, 8, 0, 0, 2}),
}};

}  // namespace
}  // namespace viaduct::test
