// What was not finite in a step: the first tensor and the samples.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace viaduct {

struct Nonfinite {
  std::string tensor;                // in the order in which a step makes them: a parameter, the loss, a gradient
  std::vector<std::string> samples;  // ids, of all ranks
  bool lasting = false;              // a parameter: every later step would be like this one
  std::string text() const;          // "; first in .. ; samples: ..", or nothing
};

}  // namespace viaduct
