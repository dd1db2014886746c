// Launches that work and waste what the hosts have.
#pragma once
#include <string>
#include <vector>

#include "comm/launch.hpp"
#include "comm/rank_places.hpp"

namespace viaduct {

// A sentence for each fault, and the line to use instead: cores that ranks take turns on, GPUs that are fewer than their ranks.
// `places`: of all ranks. Of several hosts with one fault the first is named; the line is for all.
std::vector<std::string> launch_faults(const std::vector<RankPlace>& places, const LaunchLine&);

}  // namespace viaduct
