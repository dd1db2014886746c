#include "models/hf_layout.hpp"

namespace viaduct {

std::vector<HfTensor> hf_tensors(const Parameter& p, const VitConfig& config) {
  std::vector<int64_t> shape(p.shape.dim.begin(), p.shape.dim.begin() + p.shape.rank);
  if (size_t at = p.name.find(".qkv."); at != p.name.npos) {
    shape[0] /= 3;
    std::vector<HfTensor> three;
    for (const char* part : {"query", "key", "value"})
      three.push_back({std::string(p.name).replace(at + 1, 3, part), shape});
    return three;
  }
  if (p.name.ends_with(".cls_token")) shape = {1, 1, shape[0]};
  if (p.name.ends_with(".position_embeddings")) shape = {1, shape[0], shape[1]};
  if (p.name.ends_with(".patch_embeddings.projection.weight"))
    shape = {shape[0], config.num_channels, config.patch_size, config.patch_size};
  return {{p.name, shape}};
}

}  // namespace viaduct
