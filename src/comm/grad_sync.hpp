// Synchronisation of gradients: what a strategy (ddp, fast_ddp, zero1, zero2) does between backward and the optimizer.
//   begin(pass) .. [model: add_loss, open/ready per block] .. more passes .. finish()
// Gradients are sums over loss terms; nothing is divided here. Only the last pass of a step
// communicates, but where gradients are divided every one does.
#pragma once
#include <memory>
#include <string>

#include "comm/communicator.hpp"
#include "comm/loss_sum.hpp"
#include "comm/wire.hpp"
#include "core/device/context.hpp"
#include "core/nn/grad_sink.hpp"
#include "core/nn/parameter.hpp"

namespace viaduct {

// What every rank learns of the whole step with the last bucket, without a collective of its own.
struct StepTail {
  LossSum loss_sum;         // over all loss terms
  int64_t terms = 0;        // how many there were: the divisor
  int64_t quarantined = 0;  // samples replaced
  int64_t stop = 0;         // ranks that were asked to stop
  int64_t nonfinite = 0;    // ranks that saw a loss that is not finite
};

class GradSync : public GradSink {
 public:
  // `mine`: what this rank has to say of the pass: quarantined adds up over the passes of a step, and stop in one of
  // them stops.
  virtual void begin(const StepTail& mine, bool last_pass) = 0;
  // On return the gradients of this rank's optimizer range are those of the step. Throws, naming the blocks that were
  // never reported or reported twice.
  virtual StepTail finish() = 0;
  // The sum of squares of the step's whole gradient, after finish(): the same bits on every rank.
  virtual double squared_norm(Ctx&) = 0;
  // This rank's optimizer has updated its values: those of all ranks set out. A block's have arrived when need()
  // returns, all of them when settle() does. Nothing to do where every rank updates everything.
  virtual void updated() {}
  virtual void settle() {}
  // The ranks that saw a loss or a gradient that is not finite; collective, after a finish() that says there are some.
  virtual std::vector<int> nonfinite_ranks() = 0;
  // The collectives of a step in their order, with type and elements: the same on every rank, or the ranks would hang.
  virtual std::vector<std::string> collectives() const = 0;
  // Memory beside the store's: staging, fixed point, buckets.
  virtual int64_t bytes() const = 0;
  // Seconds that finish() of the last step waited for communication that backward did not hide.
  virtual double exposed_seconds() const = 0;
};

struct GradSyncOptions {
  std::string strategy = "ddp";
  double bucket_mb = 25;
  WireOptions wire;
};
std::unique_ptr<GradSync> make_grad_sync(const GradSyncOptions&, ParameterStore&, Communicator&);

// A rank without samples in a pass reports every block all the same.
void report_all(ParameterStore&, GradSink&);

}  // namespace viaduct
