// The parts of a step whose seconds are measured, under the names that the log and the run's files give them.
#pragma once
#include <vector>

#include "train/observer.hpp"

namespace viaduct {

struct StepPart {
  const char* name;
  double StepReport::*seconds;
};
inline constexpr StepPart kStepParts[] = {
    {"data", &StepReport::data_seconds},           {"forward", &StepReport::forward_seconds},
    {"backward", &StepReport::backward_seconds},   {"comm", &StepReport::comm_seconds},
    {"optimizer", &StepReport::optimizer_seconds}, {"device", &StepReport::device_seconds}};

// Those that are known of this step: on a device that the host is ahead of, data and device.
inline std::vector<StepPart> known_parts(const StepReport& r) {
  if (r.device_seconds > 0) return {kStepParts[0], kStepParts[5]};
  return {kStepParts, kStepParts + 5};
}

}  // namespace viaduct
