// How a parameter of ours is stored in a Hugging Face file: under which names, in which shapes.
#pragma once
#include <string>
#include <vector>

#include "core/nn/parameter.hpp"
#include "models/model_config.hpp"

namespace viaduct {

// One tensor of the file: a contiguous piece of the parameter, the pieces in order, all of the same size.
struct HfTensor {
  std::string name;
  std::vector<int64_t> shape;
};
// One for most parameters; for projections of one input that we fuse, one each where Hugging Face has them apart:
// query, key and value of `..qkv..`, key and value of `..kv..`, DeiT's two tokens. (CLIP's `attn.qkv` is fused there
// too.)
std::vector<HfTensor> hf_tensors(const Parameter&, const ModelConfig&);

// What a student has in order to be compared with its teacher: registered last, and no part of the model that it
// becomes.
inline constexpr const char* kLearningOnly = "distillation.";
inline bool for_learning_only(const Parameter& p) { return p.name.starts_with(kLearningOnly); }

}  // namespace viaduct
