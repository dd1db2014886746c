#include "models/model_config.hpp"

#include <fmt/format.h>

namespace viaduct {
namespace {

std::string text_of(const VitConfig& c) {
  return fmt::format("{}, {} layers of {}, {} tokens, {} classes", c.distillation_token ? "DeiT" : "ViT",
                     c.num_hidden_layers, c.hidden_size, c.tokens(), c.classes());
}
std::string text_of(const BridgeTowerConfig& c) {
  return fmt::format("BridgeTower, text {} layers of {}, vision {} layers of {}, bridged {} of {}, {} image tokens",
                     c.text.num_hidden_layers, c.text.hidden_size, c.vision.num_hidden_layers, c.vision.hidden_size,
                     c.num_hidden_layers, c.hidden_size, c.image_tokens());
}

}  // namespace

int64_t image_size(const ModelConfig& config) {
  return is_bridgetower(config) ? bridgetower(config).vision.image_size : vit(config).image_size;
}
void set_image_size(ModelConfig& config, int64_t size) {
  if (auto* tower = std::get_if<BridgeTowerConfig>(&config))
    tower->vision.image_size = size;
  else
    std::get<VitConfig>(config).image_size = size;
}
void validate(const ModelConfig& config) {
  std::visit([](const auto& c) { c.validate(); }, config);
}
std::string describe(const ModelConfig& config) {
  return std::visit([](const auto& c) { return text_of(c); }, config);
}

}  // namespace viaduct
