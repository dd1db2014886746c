// What `doctor` says of how the ranks were started.
#pragma once
#include "app/findings.hpp"
#include "comm/launch.hpp"
#include "comm/mpi_world.hpp"
#include "comm/threads.hpp"

namespace viaduct::app {

// Facts of this rank, and for rank 0 what is wrong with the launch.
void judge_launch(const World&, const ThreadShare&, const LaunchLine&, Findings&);

}  // namespace viaduct::app
