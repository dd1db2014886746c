// The tables and bars of a report.
#pragma once
#include <string>
#include <vector>

#include "app/report_data.hpp"

namespace viaduct::app {

// Of a step, in the order in which they happen; class p-NAME.
inline constexpr const char* kParts[] = {"data", "forward", "backward", "comm", "optimizer", "device"};

inline std::string colour_of(size_t run) { return "s" + std::to_string(run % 8); }
std::string bytes_text(int64_t);  // "1.83 GB"

// Each is empty text where no run has anything to show.
std::string time_table(const std::vector<RunData>&);      // shares, means and 95th percentiles
std::string memory_bars(const std::vector<RunData>&);     // by category, on one scale
std::string metrics_table(const std::vector<RunData>&);   // the last line of metrics.jsonl and the last evaluations
std::string settings_table(const std::vector<RunData>&);  // with origins; what differs first

}  // namespace viaduct::app
