// How a tower of BridgeTower enters the cross-modal encoder: one transform for each modality, shared by all levels, and at
// each level a norm, which above the first joins it with what the encoder has made so far.
#pragma once
#include <optional>

#include "core/nn/layer_norm.hpp"
#include "core/nn/linear.hpp"
#include "core/ops/bridge.hpp"
#include "models/bridgetower_config.hpp"

namespace viaduct {

// h = W x + b + the token type of the modality, a row of a table that both modalities share.
struct TowerTransform {
  nn::Linear dense;
  const Parameter& types;  // [2, H]
  int64_t type;

  void forward(Ctx&, Tensor h, Tensor x) const;
  // dx is written or, with `accumulate`, added to; absent: not wanted.
  void backward(Ctx&, Tensor dx, bool accumulate, Tensor dh, Tensor x) const;
};

// out = LN(h), or LN(h joined with c).
struct Link {
  nn::LayerNorm norm;
  std::optional<ops::Bridge> kind;  // absent: there is no c
  const Parameter* scalar;          // [1], absent for `add`
  struct Saved {
    Tensor h, c;  // c of a link with a scalar; of others h is what the norm reads
    ops::NormStats stats;
  };

  // `name` with the place of the norm: "cross_modal_text_layernorm", or of the link with kind.
  static Link at_first_level(ParameterStore&, const std::string& name, const BridgeTowerConfig&);
  static Link above(ParameterStore&, const std::string& name, const BridgeTowerConfig&);

  // h is used up: what is kept of it is the caller's, and so is c. c may be absent where there is no kind.
  void forward(Ctx&, Tensor out, Tensor h, Tensor c, Saved*) const;
  // d: in, the gradient of out; out, that of c. The gradient of h is returned: d itself, where they are equal, or
  // `dh`, which is written; without it (not wanted) nothing.
  Tensor backward(Ctx&, Tensor d, Tensor dh, const Saved&) const;
  bool keeps_c() const { return scalar != nullptr; }
};

}  // namespace viaduct
