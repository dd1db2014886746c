// model.safetensors, or the shards of model.safetensors.index.json, into a parameter store.
#pragma once
#include <string>
#include <vector>

#include "core/nn/parameter.hpp"
#include "models/model_config.hpp"
#include "models/safetensors.hpp"

namespace viaduct {

// The tensors of a model folder, wherever they lie.
class HfTensors {
 public:
  explicit HfTensors(const Path& folder);

  struct Found {
    const SafetensorsFile* file = nullptr;
    const SafetensorsEntry* entry = nullptr;
    explicit operator bool() const { return entry; }
  };
  Found find(const std::string& name) const;
  std::vector<std::string> names() const;

 private:
  void open_shards(const Path& folder);
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::pair<size_t, size_t>> where_;  // file, tensor
};

// What a checkpoint did not settle. Each is also said in the log.
struct LoadedWeights {
  std::vector<std::string> new_heads;   // "classifier", "itm_score": missing or of another size, initialised anew
  bool interpolated_positions = false;  // made for another image size
  std::vector<std::string> ignored;     // tensors that the model has no use for
};

// Fills every parameter of `store`, the frozen ones included, rounded to its dtype; what the file leaves open begins
// from `seed`. `masters` receive the unrounded values of the elements that an optimizer keeps in fp32, which may be
// parts of parameters; none when the store itself is fp32. Missing and misshapen tensors are an error that names them.
// `every` > 0: a ViT is cut out of a larger one, whose tensors these are. Its layer l (from 1) is layer l x every
// there, and of each tensor it has the leading block: so its heads, channels and hidden units are the first ones.
LoadedWeights load_weights(const HfTensors&, const ModelConfig&, ParameterStore& store, uint64_t seed,
                           const std::vector<ValuePart>& masters = {}, int64_t every = 0);
inline LoadedWeights load_weights(const Path& folder, const ModelConfig& config, ParameterStore& store, uint64_t seed,
                                  const std::vector<ValuePart>& masters = {}, int64_t every = 0) {
  return load_weights(HfTensors(folder), config, store, seed, masters, every);
}

// Positions [special + from^2, width] made for a grid of from x from patches, as torch's bicubic interpolation
// (a = -0.75, without align_corners or antialias) resizes them to [special + to^2, width]; the first rows, those of the
// class token and of DeiT's, stay.
std::vector<float> interpolate_positions(const std::vector<float>& rows, int64_t from, int64_t to, int64_t width,
                                         int64_t special = 1);

}  // namespace viaduct
