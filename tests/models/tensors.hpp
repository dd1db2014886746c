// The tensors of a model folder, to be changed, dropped or renamed and written to another one.
#pragma once
#include <list>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/nn/parameter.hpp"
#include "models/safetensors.hpp"
#include "tests/support/temp_folder.hpp"

namespace viaduct::test {

struct Tensors {
  explicit Tensors(const Path& folder) {
    SafetensorsFile file(folder / "model.safetensors");
    for (const auto& t : file.tensors()) {
      auto& to = values.emplace_back(size_t(t.numel()));
      file.read(t, to.data());
      items.push_back({t.name, "F32", t.shape, to.data()});
    }
  }
  Tensors(Tensors&&) = default;
  Tensors& operator=(Tensors&&) = default;

  void add(const std::string& name, const std::vector<int64_t>& shape, size_t count, const char* dtype = "F32") {
    items.push_back({name, dtype, shape, values.emplace_back(count).data()});
  }
  void drop(const std::string& part) {
    std::erase_if(items, [&](auto& item) { return item.name.find(part) != item.name.npos; });
  }
  void strip(const std::string& prefix) {  // of those that have it
    for (auto& item : items)
      if (item.name.starts_with(prefix)) item.name.erase(0, prefix.size());
  }
  std::vector<float>& of(const std::string& name) {
    for (const auto& item : items)
      for (auto& value : values)
        if (item.name == name && item.data == value.data()) return value;
    throw std::runtime_error("no tensor is named " + name);
  }

  void write(const Path& folder) const {
    std::filesystem::remove(folder / "model.safetensors");
    write_safetensors(folder / "model.safetensors", items);
  }
  // Half of them each in one.safetensors and two.safetensors; returns the entries of the index.
  std::string write_shards(const Path& folder) const {
    auto middle = items.begin() + std::ptrdiff_t(items.size() / 2);
    write_safetensors(folder / "one.safetensors", {items.begin(), middle});
    write_safetensors(folder / "two.safetensors", {middle, items.end()});
    std::string map;
    for (auto item = items.begin(); item != items.end(); ++item)
      map +=
          fmt::format("{}\"{}\":\"{}.safetensors\"", map.empty() ? "" : ",", item->name, item < middle ? "one" : "two");
    write_index(folder, map);
    return map;
  }
  static void write_index(const Path& folder, const std::string& entries) {
    write_bytes(folder / "model.safetensors.index.json", R"({"metadata":{},"weight_map":{)" + entries + "}}");
  }

  std::vector<SafetensorsItem> items;
  std::list<std::vector<float>> values;  // what the items point to
};

inline std::vector<float> values(ParameterStore& store, const std::string& name) {
  Parameter& p = store.find(name);
  std::vector<float> out;
  dispatch(p.value.dtype, [&]<class T>() { out.assign(data<T>(p.value), data<T>(p.value) + p.value.numel()); });
  return out;
}

}  // namespace viaduct::test
