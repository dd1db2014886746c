// A ViT or DeiT as Hugging Face's config.json describes it; names and defaults are those of ViTConfig.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/ops/elementwise.hpp"

namespace viaduct {

struct VitConfig {
  int64_t hidden_size = 768, num_hidden_layers = 12, num_attention_heads = 12, intermediate_size = 3072;
  int64_t image_size = 224, patch_size = 16, num_channels = 3;
  std::string hidden_act = "gelu";  // gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, relu
  double hidden_dropout_prob = 0, attention_probs_dropout_prob = 0;
  double initializer_range = 0.02, layer_norm_eps = 1e-12;
  bool qkv_bias = true;
  bool distillation_token = false;                           // DeiT: a second token and head, for the teacher's answer
  std::vector<std::string> labels = {"LABEL_0", "LABEL_1"};  // id2label in order of id

  // Calls v(name, field) for every field of config.json that changes the maths, but labels and what model_type says.
  template <class V>
  void fields(V&& v) {
    v("hidden_size", hidden_size), v("num_hidden_layers", num_hidden_layers);
    v("num_attention_heads", num_attention_heads), v("intermediate_size", intermediate_size);
    v("image_size", image_size), v("patch_size", patch_size), v("num_channels", num_channels);
    v("hidden_act", hidden_act), v("hidden_dropout_prob", hidden_dropout_prob);
    v("attention_probs_dropout_prob", attention_probs_dropout_prob);
    v("initializer_range", initializer_range), v("layer_norm_eps", layer_norm_eps), v("qkv_bias", qkv_bias);
  }

  int64_t grid() const { return image_size / patch_size; }
  int64_t special_tokens() const { return distillation_token ? 2 : 1; }  // before the patches
  int64_t tokens() const { return grid() * grid() + special_tokens(); }
  int64_t classes() const { return int64_t(labels.size()); }
  ops::Activation activation() const;  // of hidden_act
  // Throws a configuration error that names the field, what was expected and what was found.
  void validate() const;
};

}  // namespace viaduct
