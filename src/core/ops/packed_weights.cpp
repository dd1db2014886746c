#include "core/ops/packed_weights.hpp"

#include "core/ops/cpu/packed_cache.hpp"

namespace viaduct::ops {

PackedWeights::PackedWeights(Device device) : impl_(new Impl{device}) {}
PackedWeights::~PackedWeights() = default;

void PackedWeights::values_changed() { ++impl_->version; }

int64_t PackedWeights::bytes() const {
  int64_t sum = 0;
  for (const auto& [key, copy] : impl_->copies) sum += copy.memory.bytes();
  return sum;
}

}  // namespace viaduct::ops
