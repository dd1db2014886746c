// What holds for every row of the case table on every device; gtest expectations.
#pragma once
#include "tests/support/op_case.hpp"

namespace viaduct::test {

struct Row {
  const OpCase* op;
  DType dtype;
};
std::vector<Row> test_rows(const std::vector<DType>& dtypes, Device);
std::string name_of(const Row&);  // as a gtest name

// Bytes of every output after a run.
std::vector<std::byte> run_and_take_outputs(const Row&, Device);

void expect_at_most_twice_the_naive_error(const Row&, Device);
void expect_nothing_beside_outputs_is_touched(const Row&, Device);
void expect_planned_memory_is_used(const Row&, Device);
void expect_outputs_may_alias_inputs(const Row&, Device);

}  // namespace viaduct::test
