// Activation recomputation (Chen et al. 2016): of a block only its input is kept; backward runs the forward again.
// Dropout is drawn from counters, so the second run gives the same bits.
#pragma once
#include "core/nn/encoder_block.hpp"

namespace viaduct::nn {

struct Recomputed {
  const EncoderBlock& block;
  struct Saved {
    Tensor x;
  };

  Tensor forward(Ctx& ctx, Tensor x, Saved& saved) const {
    saved.x = x;
    Tensor y = ctx.arena.keep(x.shape, x.dtype);
    ops::copy(ctx, y, x);
    return block.forward(ctx, y, nullptr);
  }
  void backward(Ctx& ctx, Tensor d, const Saved& saved) const {
    Arena::Mark mark = ctx.arena.mark();
    EncoderBlock::Saved again;
    block.forward(ctx, saved.x, &again);
    block.backward(ctx, d, again);
    ctx.arena.release(mark);
  }
};

}  // namespace viaduct::nn
