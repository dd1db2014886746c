// A model folder as Hugging Face's save_pretrained writes it: transformers and this program load it.
#pragma once
#include <map>
#include <string>

#include "core/nn/parameter.hpp"
#include "models/safetensors.hpp"
#include "models/vit_config.hpp"

namespace viaduct {

// `values`: fp32 on the host, the elements of `range` of the flat buffers, which covers every parameter.
// `more_files`: name and text of further files, such as preprocessor_config.json.
// The folder appears whole or not at all; an older version of it is replaced.
void export_vit(const Path& folder, const VitConfig&, const ParameterStore&, Tensor values, Range range,
                const std::map<std::string, std::string>& more_files);

}  // namespace viaduct
