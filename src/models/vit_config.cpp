#include "models/vit_config.hpp"

#include "models/activation_name.hpp"

namespace viaduct {

ops::Activation VitConfig::activation() const { return activation_named("hidden_act", hidden_act); }

void VitConfig::validate() const {
  activation();
  auto positive = [](const char* name, int64_t value, int64_t limit) {
    if (value < 1 || value > limit)
      fail_config(fmt::format("model.{}: expected a number from 1 to {}, found {}", name, limit, value));
  };
  positive("hidden_size", hidden_size, 1 << 16);
  positive("num_hidden_layers", num_hidden_layers, 1024);
  positive("num_attention_heads", num_attention_heads, hidden_size);
  positive("intermediate_size", intermediate_size, 1 << 20);
  positive("patch_size", patch_size, 1024);
  positive("image_size", image_size, 8192);
  if (hidden_size % num_attention_heads)
    fail_config(fmt::format("model.hidden_size: expected a multiple of num_attention_heads ({}), found {}",
                            num_attention_heads, hidden_size));
  if (image_size < patch_size)
    fail_config(fmt::format("model.image_size: expected at least patch_size ({}), found {}", patch_size, image_size));
  if (num_channels != 3) fail_config(fmt::format("model.num_channels: expected 3 (RGB), found {}", num_channels));
  auto probability = [](const char* name, double p) {
    if (!(p >= 0 && p < 1)) fail_config(fmt::format("model.{}: expected a probability in [0, 1), found {}", name, p));
  };
  probability("hidden_dropout_prob", hidden_dropout_prob);
  probability("attention_probs_dropout_prob", attention_probs_dropout_prob);
  if (!(layer_norm_eps >= 0 && layer_norm_eps < 1))
    fail_config(fmt::format("model.layer_norm_eps: expected a number in [0, 1), found {}", layer_norm_eps));
  if (!(initializer_range >= 0 && initializer_range < 2))
    fail_config(fmt::format("model.initializer_range: expected a number in [0, 2), found {}", initializer_range));
  if (labels.empty()) fail_config("model: expected at least one class in id2label, found none");
}

}  // namespace viaduct
