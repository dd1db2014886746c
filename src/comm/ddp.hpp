// Strategy ddp: every rank holds all gradients; buckets are summed over the ranks while backward goes on.
#pragma once
#include "comm/bucketed_sync.hpp"

namespace viaduct {

class Ddp final : public BucketedSync {
 public:
  Ddp(ParameterStore& store, Communicator& comm, const GradSyncOptions& options) : BucketedSync(store, comm, options) {
    wire_ = std::make_shared<GradientWire>(store, comm, options.wire, largest_bucket());
  }

 private:
  void launch(size_t bucket) override {
    const Range range = buckets_.ranges()[bucket];
    if (range.begin == 0) seal_tail();
    submit([wire = wire_, range](Communicator& comm, Stream& stream) { wire->all_reduce(comm, stream, range); });
  }
};

}  // namespace viaduct
