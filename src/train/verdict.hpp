// How a run ended: verdict.json in the run folder. The first rank that writes one decides, because what follows a
// failure is mostly its consequence.
#pragma once
#include <cstdint>
#include <string>

#include "core/base/check.hpp"

namespace viaduct {

// Where this rank is, for verdicts written from any thread. `phase` must be a literal.
void note_position(const char* phase, int64_t step);

// The word of verdict.json for an exit code.
const char* outcome_of(Exit code);

// False when there is a verdict already. Never throws: it is written while things go wrong.
bool write_verdict(const std::string& run_folder, Exit code, const std::string& message) noexcept;
void clear_verdict(const std::string& run_folder);  // when a run begins or is resumed, on one rank

}  // namespace viaduct
