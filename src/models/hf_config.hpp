// config.json of a Hugging Face model folder, to and from ModelConfig.
#pragma once
#include <string>

#include "core/base/files.hpp"
#include "models/model_config.hpp"

namespace viaduct {

// The folder that `key` names. When it is a Hub id, or holds only pickled weights, the error says the
// command that helps.
Path find_model_folder(const std::string& name, const std::string& key = "model.pretrained");

// What the file leaves out takes the default of transformers' configuration class; what it asks for and we cannot do is
// an error that names it. `where`: for messages.
ModelConfig read_model_config(const Path& folder);
ModelConfig parse_model_config(const std::string& json, const std::string& where);

// What transformers loads; `architecture` is the class whose heads the weights have, such as ViTForImageClassification.
std::string model_config_json(const ModelConfig&, const std::string& architecture);
// That class; empty when the file names none.
std::string parse_architecture(const std::string& json, const std::string& where);

}  // namespace viaduct
