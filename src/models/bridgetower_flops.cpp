#include "models/bridgetower_flops.hpp"

namespace viaduct {
namespace {

using Pass = BridgeTower::Pass;

// Of one sample. Attention's products are counted apart: they have no weights, and their backward makes the scores again.
struct Work {
  double weights = 0, attention = 0;
  double forward() const { return weights + attention; }
  Work operator+(const Work& o) const { return {weights + o.weights, attention + o.attention}; }
  friend Work operator*(double n, const Work& w) { return {n * w.weights, n * w.attention}; }
};

// A layer on n tokens of width h, of which q go on.
Work self_layer(double q, double n, double h, double mlp) {
  return {4 * q * h * h + 4 * n * h * h + 4 * q * h * mlp, 4 * q * n * h};
}
Work cross_layer(double q, double n, double other, double h, double mlp) {
  return self_layer(q, n, h, mlp) + Work{4 * (q + other) * h * h, 4 * q * other * h};
}

struct Shapes {
  double T, N, P, H, Hv, I, C, V, layers, levels;
  Shapes(const BridgeTowerConfig& c, int64_t tokens)
      : T(double(tokens)),
        N(double(c.image_tokens())),
        P(double(c.vision.patch_size)),
        H(double(c.hidden_size)),
        Hv(double(c.vision.hidden_size)),
        I(double(c.text.intermediate_size)),
        C(double(c.contrastive_hidden_size)),
        V(double(c.text.vocab_size)),
        layers(double(c.text.num_hidden_layers)),
        levels(double(c.num_hidden_layers)) {}

  Work patch() const { return {2 * (N - 1) * 3 * P * P * Hv, 0}; }
  Work text() const { return layers * self_layer(T, T, H, I); }
  Work vision() const { return layers * self_layer(N, N, Hv, 4 * Hv); }
  Work text_transforms() const { return {levels * 2 * T * H * H, 0}; }
  Work image_transform() const { return {2 * N * Hv * H, 0}; }
  Work text_cross() const { return cross_layer(T, T, N, H, I); }
  Work image_cross() const { return cross_layer(N, N, T, H, I); }
  Work first_tokens() const { return cross_layer(1, T, N, H, I) + cross_layer(1, N, T, H, I); }
  Work poolers() const { return {4 * H * H, 0}; }
  Work head(Pass pass, double decoded) const {
    if (pass == Pass::itm) return {8 * H, 0};
    if (pass == Pass::itc) return {8 * H * C, 0};
    return {decoded * (2 * H * H + 2 * H * V), 0};
  }
};

// What transformers computes: every row of every layer, and for itc the last transform of the image twice.
double reference(const Shapes& s, Pass pass, bool with_backward) {
  Work unread;  // by the loss, but computed
  if (pass == Pass::mlm) unread = s.image_cross() + s.poolers();
  Work all = s.patch() + s.vision() + s.text() + s.text_transforms() + s.levels * s.image_transform() +
             s.levels * (s.text_cross() + s.image_cross()) + s.poolers() + s.head(pass, s.T);
  if (pass == Pass::itc) all = all + s.image_transform();
  double forward = all.forward();  // the image needs no gradient
  return with_backward ? forward + 2 * (forward - unread.forward()) - s.patch().forward() : forward;
}

// What is done here. Language modelling is taken to hide 15 % of the tokens, as HF's collator does.
double executed_here(const Shapes& s, const BridgeTowerParts& parts, Pass pass, bool with_backward) {
  const bool text = !parts.freeze_text, vision = !parts.freeze_vision, cross = !parts.freeze_cross;
  const bool body = text || vision || cross;
  Work pairs = (s.levels - 1) * (s.text_cross() + s.image_cross());
  Work last = pass == Pass::mlm ? s.text_cross() : s.first_tokens();
  Work poolers = pass == Pass::mlm ? Work{} : s.poolers(), head = s.head(pass, 0.15 * s.T);
  Work image_transforms = s.levels * s.image_transform();
  double total =
      (s.patch() + s.vision() + s.text() + s.text_transforms() + image_transforms + pairs + last + poolers + head)
          .forward();
  if (!with_backward) return total;

  auto backward = [&](const Work& w, bool weight_gradient, bool input_gradient) {
    total += w.weights * (weight_gradient + input_gradient) + (input_gradient ? 2.5 * w.attention : 0);
  };
  backward(head, true, body);
  backward(poolers, cross, body);
  backward(pairs + last, cross, body);
  backward(s.text_transforms(), cross, text);
  backward(image_transforms, cross, vision);
  backward(s.text(), text, text);
  backward(s.vision(), vision, vision);
  backward(s.patch(), vision, false);
  if (!parts.recompute) return total;
  Work unread = {s.layers * 8 * s.N * s.Hv * s.Hv, 0};  // a block's last product is not needed again
  if (text) total += s.text().forward();
  if (vision) total += s.vision().forward() - unread.forward();
  if (body) total += pairs.forward() + (pass == Pass::mlm ? last.forward() : 0);
  return total;
}

}  // namespace

double bridgetower_flops(const BridgeTowerConfig& config, const BridgeTowerParts& parts, Pass pass, int64_t tokens,
                         bool with_backward, bool executed) {
  Shapes shapes(config, tokens);
  return executed ? executed_here(shapes, parts, pass, with_backward) : reference(shapes, pass, with_backward);
}

}  // namespace viaduct
