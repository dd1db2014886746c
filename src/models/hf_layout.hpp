// How a parameter of ours is stored in a Hugging Face file: under which names, in which shapes.
#pragma once
#include <string>
#include <vector>

#include "core/nn/parameter.hpp"
#include "models/vit_config.hpp"

namespace viaduct {

// One tensor of the file: a contiguous piece of the parameter, the pieces in order.
struct HfTensor {
  std::string name;
  std::vector<int64_t> shape;
};
// Three for a fused `..qkv..` (query, key, value), else one.
std::vector<HfTensor> hf_tensors(const Parameter&, const VitConfig&);

}  // namespace viaduct
