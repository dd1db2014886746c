// Weight matrices in the layout that matrix products want, one copy for every use (forward, input gradient), renewed at most
// once per optimizer step. On Device::meta it only counts, so that the plan knows its bytes.
#pragma once
#include <cstdint>
#include <memory>

#include "core/tensor/tensor.hpp"

namespace viaduct::ops {

class PackedWeights {
 public:
  explicit PackedWeights(Device);
  ~PackedWeights();
  void values_changed();  // the optimizer stepped or a checkpoint was loaded: every copy is stale
  int64_t bytes() const;  // held now

  struct Impl;  // the backend's
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace viaduct::ops
