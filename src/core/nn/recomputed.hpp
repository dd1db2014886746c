// Activation recomputation (Chen et al. 2016): of a block only its inputs are kept; backward runs the forward again, as
// far as backward reads it. Dropout is drawn from counters, so the second run gives the same bits.
#pragma once
#include "core/device/context.hpp"

namespace viaduct::nn {

// Block: EncoderBlock, TextLayer or CrossLayer.
template <class Block>
struct Recomputed {
  const Block& block;
  using Inputs = typename Block::Inputs;
  struct Saved {
    Inputs in;  // they must live until backward
  };

  void forward(Ctx& ctx, Tensor out, const Inputs& in, Saved& saved) const {
    saved.in = in;
    block.forward(ctx, out, in, nullptr);
  }
  // backward(ctx, saved, d) or, of a CrossLayer, backward(ctx, saved, d, other).
  template <class... Grads>
  void backward(Ctx& ctx, const Saved& saved, const Grads&... grads) const {
    Arena::Mark mark = ctx.arena.mark();
    typename Block::Saved again;
    block.forward(ctx, Tensor{}, saved.in, &again);
    block.backward(ctx, grads..., again);
    ctx.arena.release(mark);
  }
};

}  // namespace viaduct::nn
