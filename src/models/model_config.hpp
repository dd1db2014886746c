// Which model a config.json describes, and what every architecture has in common.
#pragma once
#include <string>
#include <variant>

#include "models/bridgetower_config.hpp"
#include "models/vit_config.hpp"

namespace viaduct {

using ModelConfig = std::variant<VitConfig, BridgeTowerConfig>;

inline const VitConfig& vit(const ModelConfig& c) { return std::get<VitConfig>(c); }
inline const BridgeTowerConfig& bridgetower(const ModelConfig& c) { return std::get<BridgeTowerConfig>(c); }
inline bool is_bridgetower(const ModelConfig& c) { return std::holds_alternative<BridgeTowerConfig>(c); }

int64_t image_size(const ModelConfig&);
void set_image_size(ModelConfig&, int64_t);
void validate(const ModelConfig&);
// "ViT, 12 layers of 768, 197 tokens, 1000 classes": for logs and reports.
std::string describe(const ModelConfig&);

}  // namespace viaduct
