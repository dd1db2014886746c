// A model folder as Hugging Face's save_pretrained writes it: transformers and this program load it.
#pragma once
#include <map>
#include <string>

#include "core/nn/parameter.hpp"
#include "models/model_config.hpp"
#include "models/safetensors.hpp"

namespace viaduct {

// `architecture`: Hugging Face's class with the heads that the store has. `values` is asked once
// for every parameter, in order, the frozen ones included. `more_files`: name and text of further files, such as
// preprocessor_config.json.
// The folder appears whole or not at all; an older version of it is replaced.
void export_model(const Path& folder, const ModelConfig&, const std::string& architecture, const ParameterStore&,
                  const ValuesOf& values, const std::map<std::string, std::string>& more_files);

}  // namespace viaduct
