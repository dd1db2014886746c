// How a run ended: verdict.json in the run folder. The first rank that writes one decides, because what follows a
// failure is mostly its consequence.
#pragma once
#include <cstdint>
#include <string>

#include "core/base/check.hpp"

namespace viaduct {

// The word of verdict.json for an exit code.
const char* outcome_of(Exit code);

struct Verdict {
  Exit code = Exit::ok;
  std::string message;
  std::string phase = "start";  // name_of(Phase)
  int64_t step = 0;             // optimizer steps done
  int rank = -1;                // whose end it is; -1: this rank's
  std::string host;             // of that rank; empty: this one
};
// False when there is a verdict already. Never throws: it is written while things go wrong.
bool write_verdict(const std::string& run_folder, const Verdict&) noexcept;
void clear_verdict(const std::string& run_folder);  // when a run begins or is resumed, on one rank

}  // namespace viaduct
