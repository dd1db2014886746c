// Faults on purpose, for tests and drills.
#pragma once
#include "train/config.hpp"

namespace viaduct {

// Called before every step; does what [fault] says when this is the rank and the step.
void inject_fault(const FaultSection&, int rank, int64_t step);

}  // namespace viaduct
