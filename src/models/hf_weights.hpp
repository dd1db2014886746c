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
LoadedWeights load_weights(const HfTensors&, const ModelConfig&, ParameterStore& store, uint64_t seed,
                           const std::vector<ValuePart>& masters = {});
inline LoadedWeights load_weights(const Path& folder, const ModelConfig& config, ParameterStore& store, uint64_t seed,
                                  const std::vector<ValuePart>& masters = {}) {
  return load_weights(HfTensors(folder), config, store, seed, masters);
}

// Positions [1 + from^2, width] made for a grid of from x from patches, as torch's bicubic interpolation (a = -0.75,
// without align_corners or antialias) resizes them to [1 + to^2, width]; row 0, the class token's, stays.
std::vector<float> interpolate_positions(const std::vector<float>& rows, int64_t from, int64_t to, int64_t width);

}  // namespace viaduct
