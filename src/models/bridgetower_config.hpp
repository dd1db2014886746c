// A BridgeTower (Xu et al. 2023) as Hugging Face's config.json describes it; names and defaults are those of
// BridgeTowerConfig, BridgeTowerTextConfig and BridgeTowerVisionConfig.
#pragma once
#include <cstdint>
#include <string>

#include "core/ops/elementwise.hpp"

namespace viaduct {

struct BridgeTowerConfig {
  // The cross-modal layers; of their numbers only depth and width count, the rest is text_config's.
  int64_t hidden_size = 768, num_hidden_layers = 6;
  std::string hidden_act = "gelu";  // of the masked-language-modelling head
  double layer_norm_eps = 1e-5, initializer_factor = 1;
  std::string link_tower_type = "add";  // add, scaled_add, interpolate
  int64_t contrastive_hidden_size = 512;
  double logit_scale_init_value = 2.6592;

  struct Text {  // RoBERTa
    int64_t vocab_size = 50265, hidden_size = 768, num_hidden_layers = 12, num_attention_heads = 12;
    int64_t intermediate_size = 3072, max_position_embeddings = 514, type_vocab_size = 1;
    std::string hidden_act = "gelu";
    double hidden_dropout_prob = 0.1, attention_probs_dropout_prob = 0.1, layer_norm_eps = 1e-5;
    double initializer_factor = 1;
    int64_t pad_token_id = 1, bos_token_id = 0, eos_token_id = 2;
    bool tie_word_embeddings = true;  // of the masked-language-modelling decoder
  } text;
  struct Vision {  // CLIP's ViT; heads are hidden_size / 64, the MLP is four times as wide
    int64_t hidden_size = 768, num_hidden_layers = 12, num_channels = 3, patch_size = 16, image_size = 288;
    double layer_norm_eps = 1e-5, initializer_factor = 1;
  } vision;

  // Calls v(name, field) for every field of config.json that changes the maths; those of the towers as
  // "text_config.vocab_size", "vision_config.patch_size".
  template <class V>
  void fields(V&& v) {
    v("hidden_size", hidden_size), v("num_hidden_layers", num_hidden_layers), v("hidden_act", hidden_act);
    v("layer_norm_eps", layer_norm_eps), v("initializer_factor", initializer_factor);
    v("link_tower_type", link_tower_type), v("contrastive_hidden_size", contrastive_hidden_size);
    v("logit_scale_init_value", logit_scale_init_value);
    v("text_config.vocab_size", text.vocab_size), v("text_config.hidden_size", text.hidden_size);
    v("text_config.num_hidden_layers", text.num_hidden_layers);
    v("text_config.num_attention_heads", text.num_attention_heads);
    v("text_config.intermediate_size", text.intermediate_size);
    v("text_config.max_position_embeddings", text.max_position_embeddings);
    v("text_config.type_vocab_size", text.type_vocab_size), v("text_config.hidden_act", text.hidden_act);
    v("text_config.hidden_dropout_prob", text.hidden_dropout_prob);
    v("text_config.attention_probs_dropout_prob", text.attention_probs_dropout_prob);
    v("text_config.layer_norm_eps", text.layer_norm_eps);
    v("text_config.initializer_factor", text.initializer_factor);
    v("text_config.pad_token_id", text.pad_token_id), v("text_config.bos_token_id", text.bos_token_id);
    v("text_config.eos_token_id", text.eos_token_id);
    v("text_config.tie_word_embeddings", text.tie_word_embeddings);
    v("vision_config.hidden_size", vision.hidden_size);
    v("vision_config.num_hidden_layers", vision.num_hidden_layers);
    v("vision_config.num_channels", vision.num_channels), v("vision_config.patch_size", vision.patch_size);
    v("vision_config.image_size", vision.image_size), v("vision_config.layer_norm_eps", vision.layer_norm_eps);
    v("vision_config.initializer_factor", vision.initializer_factor);
  }

  // The deviation of initial weights that have no rule of their own, times initializer_factor.
  static constexpr double kStddev = 0.05;

  int64_t grid() const { return vision.image_size / vision.patch_size; }
  int64_t image_tokens() const { return grid() * grid() + 1; }
  int64_t vision_heads() const { return vision.hidden_size / 64; }
  // In tokens, the special ones included; the first of them stands at position pad_token_id + 1.
  int64_t longest_text() const { return text.max_position_embeddings - text.pad_token_id - 1; }
  int64_t split() const { return text.num_hidden_layers - num_hidden_layers + 1; }  // tower layers before the bridges
  // Throws a configuration error that names the field, what was expected and what was found.
  void validate() const;
};

}  // namespace viaduct
