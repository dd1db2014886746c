// config.json of a Hugging Face model folder, to and from VitConfig.
#pragma once
#include <string>

#include "core/base/files.hpp"
#include "models/vit_config.hpp"

namespace viaduct {

// The folder that `model.pretrained` names. When it is a Hub id, or holds only pickled weights, the error says the
// command that helps.
Path find_model_folder(const std::string& name);

VitConfig read_vit_config(const Path& folder);
VitConfig parse_vit_config(const std::string& json, const std::string& where);  // `where`: for messages
std::string vit_config_json(const VitConfig&);                                  // what transformers loads

}  // namespace viaduct
