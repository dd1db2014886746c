// Strategy ddp: every rank holds all gradients; buckets are summed over the ranks while backward goes on.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "comm/comm_thread.hpp"
#include "comm/grad_sync.hpp"

namespace viaduct {

// Consecutive blocks in the order in which backward finishes them (last first), closed when they reach `bytes`. Unless
// all fit in one, the block that is ready last goes alone with the step tail, because nothing is left to hide its
// transfer.
std::vector<Range> make_buckets(const std::vector<Range>& blocks, int64_t element_bytes, double bytes);

class Ddp final : public GradSync {
 public:
  Ddp(ParameterStore&, Communicator&, double bucket_mb);

  void begin(const StepTail& mine, bool last_pass) override;
  void add_loss(Tensor losses, int64_t terms) override;
  Tensor open(Range block) override { return store_.grads(block); }
  void ready(Range block) override;
  StepTail finish() override;
  double exposed_seconds() const override { return exposed_seconds_; }

 private:
  struct Bucket {
    Range range;
    int blocks = 0, pending = 0;
  };
  void launch(const Bucket&);
  void check_reports() const;

  ParameterStore& store_;
  std::vector<Bucket> buckets_;
  std::vector<int> bucket_of_;  // per block
  std::vector<int> reports_;    // per block, in this pass
  size_t next_bucket_ = 0;      // launched in this order on every rank, whatever order blocks become ready in
  StepTail tail_;
  bool in_step_ = false, last_pass_ = false;
  double exposed_seconds_ = 0;
  std::optional<CommThread> thread_;  // absent in a world of one
};

}  // namespace viaduct
