// AdamW over one range of the flat buffers: all of it when replicated, a shard when the optimizer is sharded. The
// master values are fp32: the store itself in fp32, a buffer of this range in bf16 (the store then holds their
// rounding).
#pragma once
#include <vector>

#include "core/nn/parameter.hpp"
#include "core/ops/update.hpp"

namespace viaduct {

struct AdamWConfig {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
};

class AdamW {
 public:
  AdamW(ParameterStore&, Range owned, AdamWConfig);

  // The numbers of the next update among those of the step, on the host: learning rate and bias corrections.
  void prepare(double* step_scalars, double learning_rate);
  // That update; step_scalars: ops::step_scalar on the device, with the factor of the gradients that ops::clip has set.
  void step(Ctx&, Tensor step_scalars);
  // After values were set from outside: the master follows the store, or the store is rounded from the master.
  void master_from_values(Ctx&);
  void values_from_master(Ctx&);

  Range owned() const { return owned_; }
  Tensor master() const { return master_; }  // [owned], as m and v
  Tensor m() const { return m_; }
  Tensor v() const { return v_; }
  int64_t steps() const { return steps_; }  // updates done: t of the bias corrections
  void set_steps(int64_t steps) { steps_ = steps; }
  int64_t bytes() const { return buffer_.bytes(); }

 private:
  struct Group {
    Range range;  // neighbours with the same decay
    bool decay;
  };
  ParameterStore& store_;
  Range owned_;
  AdamWConfig config_;
  Buffer buffer_;
  Tensor master_, m_, v_;
  std::vector<Group> groups_;
  int64_t steps_ = 0;
};

}  // namespace viaduct
