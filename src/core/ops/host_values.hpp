// The elements of a floating tensor as fp32 on the host, for whoever counts right answers. Nothing on meta, where the memory
// that it takes is counted all the same.
#pragma once
#include <vector>

#include "core/device/context.hpp"

namespace viaduct::ops {

std::vector<float> host_values(Ctx&, Tensor);

}  // namespace viaduct::ops
