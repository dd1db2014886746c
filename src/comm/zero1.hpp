// Strategy zero1: each rank's optimizer has a range of the parameters. Gradients are summed where they are used, in
// buckets while backward goes on; updated values are sent to all ranks, first block first, while the next forward
// already runs.
#pragma once
#include <optional>
#include <vector>

#include "comm/buckets.hpp"
#include "comm/comm_thread.hpp"
#include "comm/reported_sync.hpp"

namespace viaduct {

class Zero1 final : public ReportedSync {
 public:
  Zero1(ParameterStore&, Communicator&, double bucket_mb);

  void need(Range block) override;
  void updated() override;
  void settle() override;
  void squared_norm(Ctx&, Tensor out) override;

 private:
  void pass_begun() override;
  void block_ready(size_t block) override;
  void complete() override;
  void launch(Range bucket);

  std::vector<Range> shards_;
  Buckets buckets_;
  std::vector<CommThread::Ticket> arrivals_;  // of each bucket's values
  std::optional<CommThread> thread_;          // absent in a world of one
};

}  // namespace viaduct
