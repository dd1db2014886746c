#include "models/hf_export.hpp"

#include "models/hf_config.hpp"
#include "models/hf_layout.hpp"

namespace viaduct {

void export_model(const Path& folder, const ModelConfig& config, const std::string& architecture,
                  const ParameterStore& store, const std::vector<ValuePart>& values,
                  const std::map<std::string, std::string>& more_files) {
  std::vector<SafetensorsItem> items;
  for (const Parameter& p : store.parameters()) {
    const float* at = values_of(values, p);
    auto tensors = hf_tensors(p, config);
    for (const HfTensor& t : tensors) {
      items.push_back({t.name, "F32", t.shape, at});
      at += p.range.size() / int64_t(tensors.size());
    }
  }
  StagedFolder staged(folder);
  auto write = [&](const std::string& name, const std::string& text) {
    FileWriter file(staged.path() / name);
    file.append(text);
    file.finish();
  };
  write("config.json", model_config_json(config, architecture));
  for (const auto& [name, text] : more_files) write(name, text);
  write_safetensors(staged.path() / "model.safetensors", items);
  staged.commit();
}

}  // namespace viaduct
