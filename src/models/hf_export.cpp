#include "models/hf_export.hpp"

#include "models/hf_config.hpp"
#include "models/hf_layout.hpp"

namespace viaduct {

void export_vit(const Path& folder, const VitConfig& config, const ParameterStore& store, Tensor values, Range range,
                const std::map<std::string, std::string>& more_files) {
  expect(values.shape == Shape({range.size()}), "there is one value per element of the range");
  std::vector<SafetensorsItem> items;
  for (const Parameter& p : store.parameters()) {
    expect(range.contains(p.range), "the exported range covers every parameter");
    const float* at = data<float>(values) + (p.range.begin - range.begin);
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
  write("config.json", vit_config_json(config));
  for (const auto& [name, text] : more_files) write(name, text);
  write_safetensors(staged.path() / "model.safetensors", items);
  staged.commit();
}

}  // namespace viaduct
