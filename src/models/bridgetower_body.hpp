// What every head of BridgeTower stands on: the towers, the bridges and the cross-modal encoder. Level j of the encoder
// is a pair of layers that read each other's inputs; those come from tower layer split + j - 1, the first pair's from a
// norm of their own, those above through a link with the pair below. The towers never hear of the encoder.
#pragma once
#include <vector>

#include "models/bridge.hpp"
#include "models/clip_vision.hpp"
#include "models/pair_tensors.hpp"
#include "models/roberta.hpp"

namespace viaduct {

// The passes of the model that read token 0 of both streams, and those that read all rows of the text.
struct BodyReaders {
  Passes first, rows;
  Passes all() const { return first | rows; }
};

struct BodyOptions {
  BodyReaders readers;
  bool freeze_text = false, freeze_vision = false, freeze_cross = false, recompute = false;
};

class BridgeTowerBody {
 public:
  BridgeTowerBody(PassBlocks&, const BridgeTowerConfig&, const ops::Normalization&, const BodyOptions&);

  // Results of the caller, or their gradients: what is absent is not wanted, and not computed where nothing else needs
  // it. Of the encoder either the first two or the last; of the towers no cross.
  struct Outputs {
    Tensor text_first, image_first;  // [B, H] token 0 of the last pair's outputs
    Embeddings towers;               // [B, H] token 0 of the text tower; of the vision tower, transformed and typed
    Tensor text_rows;                // [B, T, H] the last text layer's output
  };
  struct Level {
    Arena::Mark tower_mark, bridge_mark;  // before what the towers keep, and the bridge and the pair
    Tensor t, v;                          // the towers' states that it reads
    ops::NormStats post;
    Link::Saved text_link, image_link;
  };
  struct Saved {
    Roberta::Saved text;
    ClipVision::Saved vision;
    std::vector<Level> levels;
    LayerStack<nn::CrossLayer>::Saved text_cross, image_cross;
  };

  // Keeps nothing when nothing of the body is trained.
  void forward(Ctx&, BlockReports&, const PairInputs&, const Outputs&, Saved*) const;
  // `d` is used as working memory. Goes no deeper than the lowest trained block.
  void backward(Ctx&, BlockReports&, const Outputs& d, const Saved&) const;
  bool trained() const { return train_text_ || train_vision_ || train_cross_; }
  // Outputs::towers, without the encoder; inference only.
  void towers(Ctx&, const PairInputs&, const Embeddings& out) const;

  const Roberta& text() const { return text_; }

 private:
  void add_shared(PassBlocks&, const BodyOptions&);
  void add_level(PassBlocks&, int64_t level, const BodyOptions&);
  void add_text_pooler(PassBlocks&);
  struct States;     // forward: what goes on from level to level
  struct Gradients;  // backward
  void text_layers(Ctx&, BlockReports&, size_t level, States&, const PairInputs&, Saved*) const;
  void vision_blocks(Ctx&, BlockReports&, size_t level, States&, const PairInputs&, Saved*) const;
  void enter(Ctx&, BlockReports&, size_t level, States&, const Outputs&, Saved*) const;
  void cross(Ctx&, BlockReports&, size_t level, States&, Tensor mask, const Outputs&, Saved*) const;
  void cross_backward(Ctx&, BlockReports&, size_t level, Gradients&, const Outputs& d, const Saved&) const;
  void enter_backward(Ctx&, BlockReports&, size_t level, Gradients&, const Outputs& d, const Saved&) const;
  void image_transform_backward(Ctx&, size_t level, Gradients&, Tensor dh, const Outputs& d, const Level&) const;
  void vision_backward(Ctx&, BlockReports&, size_t level, Gradients&, const Saved&) const;
  void text_backward(Ctx&, BlockReports&, size_t level, Gradients&, const Saved&) const;

  // Tower layers right below the bridges of a level.
  size_t first_layer(size_t level) const { return level == 0 ? 0 : end_layer(level - 1); }
  size_t end_layer(size_t level) const { return size_t(config_.split()) + level; }
  bool is_last(size_t level) const { return int64_t(level) + 1 == config_.num_hidden_layers; }

  BridgeTowerConfig config_;
  bool train_text_, train_vision_, train_cross_;
  Roberta text_;
  ClipVision vision_;
  Range types_range_, transforms_range_;
  std::vector<Range> link_ranges_;  // one for each level, as the links
  Parameter* types_ = nullptr;
  std::optional<TowerTransform> text_transform_, image_transform_;
  std::deque<Link> text_links_, image_links_;
  LayerStack<nn::CrossLayer> text_cross_, image_cross_;
};

}  // namespace viaduct
