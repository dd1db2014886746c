// A tiny BridgeTower that learns from the generated scenes.
#pragma once
#include "tests/train/runs.hpp"

namespace viaduct::test {

inline Settings tiny_bridgetower() {
  return {{"data.train", scenes().string()},
          {"data.tokenizer", (scenes() / "tokenizer").string()},
          {"model.arch", "bridgetower"},
          {"model.hidden_size", "24"},
          {"model.num_hidden_layers", "2"},
          {"model.contrastive_hidden_size", "16"},
          {"model.text_config.hidden_size", "24"},
          {"model.text_config.num_hidden_layers", "3"},
          {"model.text_config.num_attention_heads", "2"},
          {"model.text_config.intermediate_size", "32"},
          {"model.text_config.max_position_embeddings", "26"},
          {"model.text_config.hidden_dropout_prob", "0"},
          {"model.text_config.attention_probs_dropout_prob", "0"},
          {"model.vision_config.hidden_size", "64"},
          {"model.vision_config.num_hidden_layers", "3"},
          {"model.vision_config.patch_size", "16"},
          {"model.vision_config.image_size", "32"}};
}

}  // namespace viaduct::test
