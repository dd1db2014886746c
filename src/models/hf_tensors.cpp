#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/check.hpp"
#include "core/base/json.hpp"
#include "models/hf_weights.hpp"

namespace viaduct {

HfTensors::HfTensors(const Path& folder) {
  Path single = folder / "model.safetensors";
  if (std::filesystem::exists(single) || !std::filesystem::exists(folder / "model.safetensors.index.json"))
    files_.emplace_back(single);
  else
    open_shards(folder);
  for (size_t f = 0; f < files_.size(); ++f)
    for (size_t t = 0; t < files_[f].tensors().size(); ++t) {
      const std::string& name = files_[f].tensors()[t].name;
      if (!where_.emplace(name, std::pair(f, t)).second)
        fail_input(fmt::format("{}: tensor '{}' is in two shards", files_[f].path().string(), name));
    }
}

// The index says which tensor is in which shard; only the list of shards is used, and checked against what they hold.
void HfTensors::open_shards(const Path& folder) {
  Path index = folder / "model.safetensors.index.json";
  nlohmann::json json = read_json_object(index);
  auto map = json.find("weight_map");
  if (map == json.end() || !map->is_object() || map->empty())
    fail_input(fmt::format("{}: expected an object 'weight_map' of tensor names and files", index.string()));
  std::vector<std::string> shards;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string())
      fail_input(fmt::format("{}: weight_map: expected a file name for '{}'", index.string(), tensor));
    std::string name = file.get<std::string>();
    bool plain = name.ends_with(".safetensors") && name.find_first_of(std::string("/\\\0", 3)) == name.npos;
    if (!plain)
      fail_input(
          fmt::format("{}: weight_map: expected the name of a .safetensors file in the same folder for '{}', "
                      "found '{}'",
                      index.string(), tensor, name));
    if (std::find(shards.begin(), shards.end(), name) == shards.end()) shards.push_back(name);
  }
  for (const std::string& name : shards) files_.emplace_back(folder / name);
  for (const auto& [tensor, file] : map->items()) {
    auto named = std::find(shards.begin(), shards.end(), file.get<std::string>()) - shards.begin();
    if (!files_[size_t(named)].find(tensor))
      fail_input(fmt::format("{}: expected tensor '{}', as {} says, found none of that name",
                             files_[size_t(named)].path().string(), tensor, index.filename().string()));
  }
}

HfTensors::Found HfTensors::find(const std::string& name) const {
  auto found = where_.find(name);
  if (found == where_.end()) return {};
  auto [file, tensor] = found->second;
  return {&files_[file], &files_[file].tensors()[tensor]};
}

std::vector<std::string> HfTensors::names() const {
  std::vector<std::string> all;
  for (const auto& [name, where] : where_) all.push_back(name);
  return all;
}

}  // namespace viaduct
