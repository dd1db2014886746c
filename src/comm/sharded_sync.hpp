// What the strategies have in common whose optimizer is divided among the ranks: updated values are sent to all ranks,
// first block first, while the next forward already runs.
#pragma once
#include <vector>

#include "comm/bucketed_sync.hpp"

namespace viaduct {

class ShardedSync : public BucketedSync {
 public:
  void need(Range block) override;
  void updated() override;
  void settle() override;
  void squared_norm(Ctx&, Tensor out) override;

 protected:
  const char* collective() const final { return "reduce_parts"; }
  ShardedSync(ParameterStore&, Communicator&, const GradSyncOptions&);

  std::vector<Range> shards_;

 private:
  std::vector<CommThread::Ticket> arrivals_;  // of each bucket's values
};

}  // namespace viaduct
