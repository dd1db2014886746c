#include "models/hf_layout.hpp"

namespace viaduct {
namespace {

using Dims = std::vector<int64_t>;

bool has(const std::string& name, const std::string& part) { return name.find(part) != name.npos; }

// `..fused..` as one tensor for each of `pieces`.
std::vector<HfTensor> split(const std::string& name, const std::string& fused, Dims shape,
                            const std::vector<std::string>& pieces) {
  size_t at = name.find(fused);
  shape[0] /= int64_t(pieces.size());
  std::vector<HfTensor> out;
  for (const std::string& piece : pieces) out.push_back({std::string(name).replace(at, fused.size(), piece), shape});
  return out;
}

std::vector<HfTensor> tensors_of(const std::string& name, Dims shape, const VitConfig& config) {
  if (has(name, ".qkv.")) return split(name, ".qkv.", shape, {".query.", ".key.", ".value."});
  if (has(name, ".special_tokens")) {
    auto tokens = split(name, ".special_tokens", shape, {".cls_token", ".distillation_token"});
    for (HfTensor& t : tokens) t.shape = {1, 1, shape[1]};
    return tokens;
  }
  if (name.ends_with(".cls_token")) shape = {1, 1, shape[0]};
  if (name.ends_with(".position_embeddings")) shape = {1, shape[0], shape[1]};
  if (name.ends_with(".patch_embeddings.projection.weight"))
    shape = {shape[0], config.num_channels, config.patch_size, config.patch_size};
  return {{name, shape}};
}

std::vector<HfTensor> tensors_of(const std::string& name, Dims shape, const BridgeTowerConfig& config) {
  if (has(name, ".attn.qkv.")) return split(name, ".qkv.", shape, {".in_proj_"});
  if (has(name, ".qkv.")) return split(name, ".qkv.", shape, {".query.", ".key.", ".value."});
  if (has(name, ".kv.")) return split(name, ".kv.", shape, {".key.", ".value."});
  if (name.ends_with(".patch_embedding.weight"))
    shape = {shape[0], config.vision.num_channels, config.vision.patch_size, config.vision.patch_size};
  if (name == "logit_scale" || name.ends_with(".scaled_factor") || name.ends_with(".beta")) shape = {};
  return {{name, shape}};
}

}  // namespace

std::vector<HfTensor> hf_tensors(const Parameter& p, const ModelConfig& config) {
  Dims shape(p.shape.dim.begin(), p.shape.dim.begin() + p.shape.rank);
  return std::visit([&](const auto& c) { return tensors_of(p.name, shape, c); }, config);
}

}  // namespace viaduct
