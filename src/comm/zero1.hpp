// Strategy zero1: each rank's optimizer has a range of the parameters. Gradients are summed where they are used, in
// buckets while backward goes on.
#pragma once
#include "comm/sharded_sync.hpp"

namespace viaduct {

class Zero1 final : public ShardedSync {
 public:
  Zero1(ParameterStore& store, Communicator& comm, const GradSyncOptions& options) : ShardedSync(store, comm, options) {
    wire_ = std::make_shared<GradientWire>(store, comm, options.wire, largest_bucket());
  }

 private:
  void launch(size_t bucket) override {
    const Range range = buckets_.ranges()[bucket];
    if (range.begin == 0) seal_tail();
    submit([wire = wire_, shards = shards_, range](Communicator& comm, Stream& stream) {
      wire->reduce_parts(comm, stream, range, shards);
    });
  }
};

}  // namespace viaduct
