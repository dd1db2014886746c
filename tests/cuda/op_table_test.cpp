// Every row of the case table on the cuda device: emulated, or real with make test DEVICE=cuda.
#include <gtest/gtest.h>

#include "tests/support/op_checks.hpp"

namespace viaduct::test {
namespace {

class CudaOpTable : public testing::TestWithParam<Row> {};

TEST_P(CudaOpTable, ValuesAreNoWorseThanTwiceTheNaiveError) {
  expect_at_most_twice_the_naive_error(GetParam(), Device::cuda());
}

TEST_P(CudaOpTable, TouchesNothingBesideItsOutputs) {
  expect_nothing_beside_outputs_is_touched(GetParam(), Device::cuda());
}

TEST_P(CudaOpTable, PlansWhatItUses) { expect_planned_memory_is_used(GetParam(), Device::cuda()); }

TEST_P(CudaOpTable, TwoRunsGiveTheSameBits) {
  EXPECT_EQ(run_and_take_outputs(GetParam(), Device::cuda()), run_and_take_outputs(GetParam(), Device::cuda()));
}

TEST_P(CudaOpTable, OutputsMayAliasInputsWhereItSaysSo) { expect_outputs_may_alias_inputs(GetParam(), Device::cuda()); }

INSTANTIATE_TEST_SUITE_P(Table, CudaOpTable, testing::ValuesIn(test_rows({DType::f32, DType::bf16}, Device::cuda())),
                         [](auto& info) { return name_of(info.param); });

}  // namespace
}  // namespace viaduct::test
