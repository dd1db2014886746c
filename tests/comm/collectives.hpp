// What every communicator must do, as checks that throw: they run in threads, in processes and in a world of one.
#pragma once
#include "comm/communicator.hpp"

namespace viaduct::test {

void check_collectives(Communicator&);
// Gradients of small integers, whose sum is exact: every strategy and bucket size gives the same, with uneven ranks and
// several passes.
void check_strategies(Communicator&);

}  // namespace viaduct::test
