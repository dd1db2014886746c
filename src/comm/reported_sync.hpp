// What all strategies have in common: passes, reports of blocks, the step tail.
#pragma once
#include <memory>
#include <vector>

#include "comm/grad_sync.hpp"
#include "comm/gradient_wire.hpp"
#include "comm/loss_sum.hpp"

namespace viaduct {

class ReportedSync : public GradSync {
 public:
  void begin(Ctx&, Tensor counts, bool first_pass, bool last_pass) final;
  void add_loss(Tensor losses, int64_t terms) final;
  Tensor open(Range block) override { return store_.grads(block); }
  void part(Range block) final;
  void ready(Range block) final;
  Tensor finish() final;
  double exposed_seconds() const final { return exposed_seconds_; }
  void squared_norm(Ctx&, Tensor out) override;
  void wait(Stream&) final;
  std::vector<int> nonfinite_ranks() final;
  int64_t bytes() const override { return wire_->bytes(); }

 protected:
  ReportedSync(ParameterStore&, Communicator&, const WireOptions&);
  virtual void pass_begun() = 0;
  virtual void block_part(size_t) {}           // of one loss of several
  virtual void block_ready(size_t block) = 0;  // once a pass
  virtual void complete() = 0;                 // what finish() promises, the tail included

  // Nothing can be added to the tail any more: it lies before the gradients and may travel.
  void seal_tail();
  Stream& stream() const { return ctx_->stream; }  // of the pass
  Tensor tail_slot() const { return store_.grads({0, ParameterStore::kTailSlot}); }
  bool first_pass() const { return first_pass_; }
  bool last_pass() const { return last_pass_; }
  size_t index_of(Range block) const;
  bool on_device() const { return store_.grads().device.is_cuda(); }
  bool plans() const { return store_.grads().device.is_meta(); }  // nothing is computed or sent
  // Gradients that are about to become fixed point: what is not finite goes into the tail; what is too large is said.
  // `first`: the element of the store where they begin.
  void check_addends(const Tensor& gradients, int64_t first);

  ParameterStore& store_;
  Communicator& comm_;
  // Where all gradients are kept; shared with a communication thread that a failure may leave behind.
  std::shared_ptr<GradientWire> wire_;

 private:
  void add(Range block);
  void check_reports() const;
  // Fixed point: losses are summed exactly too.
  bool exact() const { return fixed_point_ && !plans(); }
  std::vector<int> reports_, parts_;  // per block, in this pass
  Ctx* ctx_ = nullptr;                // of the pass
  Buffer sums_buffer_;
  Tensor sums_, own_sums_;  // ops::step_sum; own: this rank's part, once it is sealed
  LossSum losses_;          // when exact(), in the place of that of sums_
  int64_t addends_;
  bool fixed_point_;
  bool in_step_ = false, first_pass_ = false, last_pass_ = false, sealed_ = false;
  double exposed_seconds_ = 0;
};

}  // namespace viaduct
