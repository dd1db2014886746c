// Rows of all ranks as keys of a contrastive loss, and their gradients on the way back.
#pragma once
#include <array>

#include "comm/communicator.hpp"
#include "core/device/context.hpp"

namespace viaduct {

class GlobalRows {
 public:
  using Keys = std::array<Tensor, 2>;  // [n, C] each, of images and of fused pairs; texts are never keys

  // Collective. `mine`: this rank's rows, at most `most`, and 0 on trailing ranks. Temporaries of the enclosing scope.
  // Without a communicator (on Device::meta) every one of `ranks` is taken to have as many as this one.
  GlobalRows(Ctx&, const Keys& mine, int64_t most, Communicator*, int64_t ranks);
  const Tensor& rows(int i) const { return all_[size_t(i)]; }  // [N, C], rank after rank
  int64_t first() const { return first_; }                     // of this rank's rows among them

  // Collective: `d` [N, C] of every rank are summed; returns the sums for this rank's rows, [n, C].
  Keys reduce(Ctx&, const Keys& d) const;

 private:
  Communicator* comm_;
  Keys all_;
  int64_t first_ = 0, mine_ = 0, total_ = 0;
};

}  // namespace viaduct
