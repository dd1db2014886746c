// Synchronisation of gradients: what a strategy (ddp, fast_ddp, zero1, zero2) does between backward and the optimizer.
//   begin(pass) .. [model: add_loss, open/ready per block] .. more passes .. finish()
// Gradients are sums over loss terms; nothing is divided here. Only the last pass of a step
// communicates, but where gradients are divided every one does.
#pragma once
#include <memory>
#include <string>

#include "comm/communicator.hpp"
#include "comm/wire.hpp"
#include "core/device/context.hpp"
#include "core/nn/grad_sink.hpp"
#include "core/nn/parameter.hpp"
#include "core/ops/step_tail.hpp"

namespace viaduct {

// What every rank learns of the whole step with the last bucket: ops::step_sum, read on the host.
struct StepTail {
  double loss_sum = 0;      // over all loss terms
  int64_t terms = 0;        // how many there were: the divisor
  int64_t quarantined = 0;  // samples replaced
  int64_t stop = 0;         // ranks that were asked to stop
  int64_t nonfinite = 0;    // ranks that saw a loss that is not finite

  static StepTail of(const double* sums) {
    namespace at = ops::step_sum;
    auto count = [&](int64_t i) { return int64_t(sums[i]); };
    return {sums[at::loss], count(at::terms), count(at::quarantined), count(at::stop), count(at::nonfinite)};
  }
};

class GradSync : public GradSink {
 public:
  // counts [2] fp64, what this rank has to say of a step with its last pass (absent before): samples replaced, and
  // whether it was asked to stop. The context serves until the next.
  virtual void begin(Ctx&, Tensor counts, bool first_pass, bool last_pass) = 0;
  // From then on, in the order of the context's stream, the gradients of this rank's optimizer range are those of the
  // step, and so are the sums that are returned: fp64 [ops::step_sum::count] on the device. Throws, naming the blocks
  // that were never reported or reported twice.
  virtual Tensor finish() = 0;
  // out [1] fp64: the sum of squares of the step's whole gradient, after finish(): the same bits on every rank.
  virtual void squared_norm(Ctx&, Tensor out) = 0;
  // This rank's optimizer has updated its values: those of all ranks set out. A block's have arrived when need()
  // returns, all of them when settle() does. Nothing to do where every rank updates everything.
  virtual void updated() {}
  virtual void settle() {}
  // Waits for the stream that a step was given to: other ranks may keep it waiting.
  virtual void wait(Stream&) = 0;
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
