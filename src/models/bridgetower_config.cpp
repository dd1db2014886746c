#include "models/bridgetower_config.hpp"

#include <algorithm>
#include <initializer_list>

#include "core/base/check.hpp"
#include "models/activation_name.hpp"

namespace viaduct {
namespace {

void expect_one_of(const char* name, const std::string& value, std::initializer_list<const char*> names) {
  if (std::find(names.begin(), names.end(), value) == names.end())
    fail_config(fmt::format("model.{}: expected one of {}, found '{}'", name, fmt::join(names, ", "), value));
}

}  // namespace

void BridgeTowerConfig::validate() const {
  auto within = [](const char* name, int64_t value, int64_t low, int64_t high) {
    if (value < low || value > high)
      fail_config(fmt::format("model.{}: expected a number from {} to {}, found {}", name, low, high, value));
  };
  auto number = [](const char* name, double value, double low, double high) {
    if (!(value >= low && value < high))
      fail_config(fmt::format("model.{}: expected a number in [{}, {}), found {}", name, low, high, value));
  };
  constexpr int64_t kWidth = 1 << 16, kDepth = 1024, kPositions = 1 << 16;  // data counts a text's tokens in 16 bits
  within("text_config.hidden_size", text.hidden_size, 1, kWidth);
  within("text_config.num_hidden_layers", text.num_hidden_layers, 1, kDepth);
  within("text_config.num_attention_heads", text.num_attention_heads, 1, text.hidden_size);
  within("text_config.intermediate_size", text.intermediate_size, 1, 1 << 20);
  within("text_config.vocab_size", text.vocab_size, 3, 1 << 24);
  within("text_config.max_position_embeddings", text.max_position_embeddings, 4, kPositions);
  within("text_config.type_vocab_size", text.type_vocab_size, 1, 1024);
  within("text_config.pad_token_id", text.pad_token_id, 0, text.vocab_size - 1);
  within("text_config.bos_token_id", text.bos_token_id, 0, text.vocab_size - 1);
  within("text_config.eos_token_id", text.eos_token_id, 0, text.vocab_size - 1);
  within("vision_config.hidden_size", vision.hidden_size, 64, kWidth);
  within("vision_config.num_channels", vision.num_channels, 3, 3);
  within("vision_config.patch_size", vision.patch_size, 1, 1024);
  within("vision_config.image_size", vision.image_size, vision.patch_size, 8192);
  within("contrastive_hidden_size", contrastive_hidden_size, 1, kWidth);
  if (longest_text() < 2)  // <s> </s>
    fail_config(
        fmt::format("model.text_config.max_position_embeddings: expected at least {} (pad_token_id = {}, "
                    "and texts begin right after its position), found {}",
                    text.pad_token_id + 3, text.pad_token_id, text.max_position_embeddings));
  if (text.hidden_size % text.num_attention_heads)
    fail_config(fmt::format("model.text_config.hidden_size: expected a multiple of num_attention_heads ({}), found {}",
                            text.num_attention_heads, text.hidden_size));
  if (vision.hidden_size % vision_heads())
    fail_config(fmt::format("model.vision_config.hidden_size: expected a multiple of its {} heads, found {}",
                            vision_heads(), vision.hidden_size));
  if (hidden_size != text.hidden_size)  // cross-modal layers are text layers
    fail_config(fmt::format("model.hidden_size: expected text_config.hidden_size ({}), found {}", text.hidden_size,
                            hidden_size));
  within("num_hidden_layers", num_hidden_layers, 1, text.num_hidden_layers);
  within("vision_config.num_hidden_layers", vision.num_hidden_layers, text.num_hidden_layers, kDepth);
  expect_one_of("link_tower_type", link_tower_type, {"add", "scaled_add", "interpolate"});
  activation_named("hidden_act", hidden_act);
  activation_named("text_config.hidden_act", text.hidden_act);
  number("text_config.hidden_dropout_prob", text.hidden_dropout_prob, 0, 1);
  number("text_config.attention_probs_dropout_prob", text.attention_probs_dropout_prob, 0, 1);
  number("layer_norm_eps", layer_norm_eps, 0, 1);
  number("text_config.layer_norm_eps", text.layer_norm_eps, 0, 1);
  number("vision_config.layer_norm_eps", vision.layer_norm_eps, 0, 1);
  number("initializer_factor", initializer_factor, 0, 100);
  number("text_config.initializer_factor", text.initializer_factor, 0, 100);
  number("vision_config.initializer_factor", vision.initializer_factor, 0, 100);
  number("logit_scale_init_value", logit_scale_init_value, -100, 100);
}

}  // namespace viaduct
