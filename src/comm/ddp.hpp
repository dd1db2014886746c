// Strategy ddp: every rank holds all gradients; buckets are summed over the ranks while backward goes on.
#pragma once
#include <optional>

#include "comm/buckets.hpp"
#include "comm/comm_thread.hpp"
#include "comm/reported_sync.hpp"

namespace viaduct {

class Ddp final : public ReportedSync {
 public:
  Ddp(ParameterStore&, Communicator&, double bucket_mb);

 private:
  void pass_begun() override;
  void block_ready(size_t block) override;
  void complete() override;
  void launch(Range bucket);

  Buckets buckets_;
  std::optional<CommThread> thread_;  // absent in a world of one
};

}  // namespace viaduct
