// Ranks as threads of one process: the reference for every other communicator, and what tests use for many ranks.
#pragma once
#include <functional>

#include "comm/communicator.hpp"

namespace viaduct {

// Calls body on `ranks` threads, each with its communicator, and returns when all have. If one throws, the others are
// woken from their collectives and the first exception is rethrown here.
void run_ranks(int ranks, const std::function<void(Communicator&)>& body);

}  // namespace viaduct
