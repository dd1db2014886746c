#include "models/hf_export.hpp"

#include "models/hf_config.hpp"
#include "models/hf_layout.hpp"

namespace viaduct {

void export_model(const Path& folder, const ModelConfig& config, const std::string& architecture,
                  const ParameterStore& store, const ValuesOf& values,
                  const std::map<std::string, std::string>& more_files) {
  std::vector<SafetensorsItem> items;
  const float* at = nullptr;  // of the parameter whose turn it is, one tensor after the other
  for (const Parameter& p : store.parameters()) {
    if (for_learning_only(p)) continue;
    auto tensors = hf_tensors(p, config);
    const int64_t size = p.range.size() / int64_t(tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i)
      items.push_back({tensors[i].name, "F32", tensors[i].shape, nullptr, [&at, &values, &p, i, size] {
                         at = i == 0 ? values(p) : at + size;
                         return at;
                       }});
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
  for (const Parameter& p : store.parameters())
    if (for_learning_only(p)) values(p);  // they come last, and whoever gives them counts on being asked
  staged.commit();
}

}  // namespace viaduct
