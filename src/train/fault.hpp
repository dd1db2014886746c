// Faults on purpose, for tests and drills.
#pragma once
#include "core/base/phase_clock.hpp"
#include "train/config.hpp"
#include "train/engine.hpp"

namespace viaduct {

class Fault {
 public:
  Fault(const FaultSection& section, int rank) : section_(section), mine_(section.rank == rank) {}

  // What [fault] says, if this is its rank, its phase (init, step, save, eval) and its step or the first after it. nan and
  // bitflip damage the engine.
  void at(const char* phase, int64_t step, PhaseClock&, Engine&);
  bool mismatched_plan() const { return mine_ && section_.kind == "mismatched_plan"; }

 private:
  FaultSection section_;
  bool mine_, done_ = false;
};

}  // namespace viaduct
