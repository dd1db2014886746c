// Runs for people: one HTML file with everything inside. No scripts, and a policy in the page that allows none, so that
// what a run folder says cannot do anything but be read.
#pragma once
#include <string>
#include <vector>

#include "app/report_data.hpp"

namespace viaduct::app {

std::string report_page(const std::vector<RunData>&);

}  // namespace viaduct::app
