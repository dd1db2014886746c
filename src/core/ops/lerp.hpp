// torch.lerp on every device: exact at both ends.
#pragma once
#include "core/base/philox.hpp"

namespace viaduct::ops {

template <class C>
VIADUCT_HD inline C lerp(C start, C end, C weight) {
  return weight < C(0.5) ? start + weight * (end - start) : end - (end - start) * (C(1) - weight);
}

}  // namespace viaduct::ops
