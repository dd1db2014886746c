// AdamW over one range of the flat buffers: all of it when replicated, a shard when the optimizer is sharded. The
// master values are fp32: the store itself in fp32, a buffer of this range in bf16 (the store then holds their
// rounding).
#pragma once
#include <functional>
#include <vector>

#include "core/nn/parameter.hpp"
#include "core/ops/update.hpp"

namespace viaduct {

struct AdamWConfig {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  std::function<double(const Parameter&)> rate;  // of the learning rate for each parameter; absent: 1
  double average_decay = 0;                      // of the moving average of the masters; 0: there is none
};

class AdamW {
 public:
  AdamW(ParameterStore&, Range owned, AdamWConfig);

  // The numbers of the next update among those of the step, on the host: learning rate and bias corrections.
  void prepare(double* step_scalars, double learning_rate);
  // The update that was prepared has been left out (ops::clip found the gradient unsound): it does not count.
  void take_back() { --steps_; }
  // That update; step_scalars: ops::step_scalar on the device, with the factor of the gradients that ops::clip has set.
  void step(Ctx&, Tensor step_scalars);
  // After values were set from outside: the master follows the store, or the store is rounded from the master.
  void master_from_values(Ctx&);
  void values_from_master(Ctx&);

  Range owned() const { return owned_; }
  Tensor master() const { return master_; }  // [owned], as m and v
  Tensor m() const { return m_; }
  Tensor v() const { return v_; }
  // The moving average of the masters, as torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn: the first
  // update copies, each later one takes 1 - decay of the new values. Absent: none.
  Tensor average() const { return average_; }
  void begin_average(Ctx&);  // from the masters, before the first update
  // The masters become the average and the average the masters; values_from_master() is the caller's. Twice: as before.
  void exchange_average(Ctx&);
  int64_t steps() const { return steps_; }  // updates done: t of the bias corrections
  void set_steps(int64_t steps) { steps_ = steps; }
  int64_t bytes() const { return buffer_.bytes(); }

 private:
  struct Group {
    Range range;  // neighbours with the same decay and rate
    bool decay;
    double rate;
  };
  ParameterStore& store_;
  Range owned_;
  AdamWConfig config_;
  Buffer buffer_;
  Tensor master_, m_, v_, average_;
  std::vector<Group> groups_;
  int64_t steps_ = 0;
};

}  // namespace viaduct
