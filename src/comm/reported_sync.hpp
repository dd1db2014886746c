// What all strategies have in common: passes, reports of blocks, the step tail.
#pragma once
#include <vector>

#include "comm/grad_sync.hpp"

namespace viaduct {

class ReportedSync : public GradSync {
 public:
  void begin(Ctx&, Tensor counts, bool last_pass) final;
  void add_loss(Tensor losses, int64_t terms) final;
  Tensor open(Range block) override { return store_.grads(block); }
  void ready(Range block) final;
  Tensor finish() final;
  double exposed_seconds() const final { return exposed_seconds_; }
  void squared_norm(Ctx&, Tensor out) override;

 protected:
  ReportedSync(ParameterStore&, Communicator&);
  virtual void pass_begun() = 0;
  virtual void block_ready(size_t block) = 0;  // once a pass
  virtual void complete() = 0;                 // what finish() promises, the tail included

  // Nothing can be added to the tail any more: it lies before the gradients and may travel.
  void seal_tail();
  Tensor tail_slot() const { return store_.grads({0, ParameterStore::kTailSlot}); }
  bool last_pass() const { return last_pass_; }

  ParameterStore& store_;
  Communicator& comm_;

 private:
  void check_reports() const;
  std::vector<int> reports_;  // per block, in this pass
  Ctx* ctx_ = nullptr;        // of the pass
  Buffer sums_buffer_;
  Tensor sums_;  // ops::step_sum
  bool in_step_ = false, last_pass_ = false, sealed_ = false;
  double exposed_seconds_ = 0;
};

}  // namespace viaduct
