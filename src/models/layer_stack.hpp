// Layers of one kind, each a block of the store, whose forward keeps everything or, with recomputation, only its inputs.
#pragma once
#include <deque>
#include <vector>

#include "core/nn/recomputed.hpp"
#include "models/pass_blocks.hpp"

namespace viaduct {

// Layer: nn::EncoderBlock, nn::TextLayer or nn::CrossLayer.
template <class Layer>
class LayerStack {
 public:
  using Inputs = typename Layer::Inputs;
  struct Saved {
    std::vector<typename Layer::Saved> layers;
    std::vector<typename nn::Recomputed<Layer>::Saved> recomputed;
  };

  explicit LayerStack(bool recompute) : recompute_(recompute) {}
  // A layer made of `args` behind the store.
  template <class... Args>
  void add(PassBlocks& blocks, const std::string& name, Passes reached_by, bool frozen, const Args&... args) {
    ranges_.push_back(blocks.add(name, reached_by, frozen, [&] { layers_.emplace_back(blocks.store(), args...); }));
  }
  const Layer& operator[](size_t i) const { return layers_[i]; }
  size_t size() const { return layers_.size(); }

  void forward(Ctx& ctx, BlockReports& reports, size_t i, Tensor out, const Inputs& in, Saved* saved) const {
    reports.need(ranges_[i]);
    if (saved) reserve(*saved);
    if (saved && recompute_)
      nn::Recomputed<Layer>{layers_[i]}.forward(ctx, out, in, saved->recomputed[i]);
    else
      layers_[i].forward(ctx, out, in, saved ? &saved->layers[i] : nullptr);
  }
  // `grads` as the layer's backward takes them, without its saved.
  template <class... Grads>
  void backward(Ctx& ctx, BlockReports& reports, size_t i, const Saved& saved, const Grads&... grads) const {
    reports.open(ranges_[i]);
    if (recompute_)
      nn::Recomputed<Layer>{layers_[i]}.backward(ctx, saved.recomputed[i], grads...);
    else
      layers_[i].backward(ctx, grads..., saved.layers[i]);
    reports.ready(ranges_[i]);
  }

  // Of the layer above which only token 0 is read; little is kept of it, so it is never recomputed.
  void forward_first_token(Ctx& ctx, BlockReports& reports, size_t i, Tensor out, const Inputs& in,
                           Saved* saved) const {
    reports.need(ranges_[i]);
    if (saved) reserve(*saved);
    layers_[i].forward_first_token(ctx, out, in, saved ? &saved->layers[i] : nullptr);
  }
  template <class... Grads>
  void backward_first_token(Ctx& ctx, BlockReports& reports, size_t i, const Saved& saved,
                            const Grads&... grads) const {
    reports.open(ranges_[i]);
    layers_[i].backward_first_token(ctx, grads..., saved.layers[i]);
    reports.ready(ranges_[i]);
  }

 private:
  void reserve(Saved& saved) const { saved.layers.resize(size()), saved.recomputed.resize(size()); }
  bool recompute_;
  std::deque<Layer> layers_;
  std::vector<Range> ranges_;
};

}  // namespace viaduct
