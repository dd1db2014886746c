#include "models/hf_config.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/check.hpp"
#include "core/base/json.hpp"

namespace viaduct {
namespace {

namespace fs = std::filesystem;
constexpr size_t kMaxClasses = 1'000'000;
constexpr int64_t kMaxBytes = 64 << 20;

bool looks_like_hub_id(const std::string& name) {  // "google/vit-base-patch16-224"
  auto allowed = [](char c) { return std::isalnum(uint8_t(c)) || c == '-' || c == '_' || c == '.' || c == '/'; };
  size_t slash = name.find('/');
  return std::all_of(name.begin(), name.end(), allowed) && name[0] != '.' && slash != name.npos && slash > 0 &&
         slash + 1 < name.size() && name.find('/', slash + 1) == name.npos;
}

// id2label maps "0", "1", .. to names; without it the class default: two classes.
std::vector<std::string> read_labels(const nlohmann::json& json, const std::string& where) {
  auto found = json.find("id2label");
  if (found == json.end() || found->is_null()) {
    int64_t classes = json_value<int64_t>(json, "num_labels", 2, where);
    if (classes < 1 || classes > int64_t(kMaxClasses))
      fail_input(fmt::format("{}: num_labels: expected 1 to {}, found {}", where, kMaxClasses, classes));
    std::vector<std::string> labels;
    for (int64_t i = 0; i < classes; ++i) labels.push_back(fmt::format("LABEL_{}", i));
    return labels;
  }
  if (!found->is_object() || found->empty() || found->size() > kMaxClasses)
    fail_input(fmt::format("{}: id2label: expected an object of 1 to {} classes", where, kMaxClasses));
  std::vector<std::string> labels;
  for (size_t i = 0; i < found->size(); ++i) {
    auto label = found->find(std::to_string(i));
    if (label == found->end() || !label->is_string())
      fail_input(fmt::format("{}: id2label: expected a name for each of 0 to {}, found none for {}", where,
                             found->size() - 1, i));
    labels.push_back(label->get<std::string>());
  }
  return labels;
}

}  // namespace

Path find_model_folder(const std::string& name) {
  if (!fs::exists(name)) {
    if (looks_like_hub_id(name))
      fail_config(
          fmt::format("model.pretrained: there is no folder '{0}'; if the model of that name on the Hugging Face "
                      "Hub is meant, fetch it first:\n  hf download {0} --local-dir {0}",
                      name));
    fail_config(fmt::format("model.pretrained: there is no folder '{}'", name));
  }
  Path folder = name;
  auto has = [&](const char* file) { return fs::exists(folder / file); };
  if (!fs::is_directory(folder))
    fail_config(
        fmt::format("model.pretrained: expected a folder with config.json and model.safetensors, found the file "
                    "'{}'",
                    name));
  if (!has("config.json")) fail_input(fmt::format("{}: expected a model folder, found no config.json in it", name));
  if (has("model.safetensors") || has("model.safetensors.index.json")) return folder;
  if (has("pytorch_model.bin") || has("pytorch_model.bin.index.json"))
    fail_input(
        fmt::format("{}: expected model.safetensors, found only pickled weights, which can run code when read; "
                    "convert them once:\n  python3 launch/to_safetensors.py {}",
                    name, name));
  fail_input(fmt::format("{}: expected model.safetensors or model.safetensors.index.json, found neither", name));
}

VitConfig read_vit_config(const Path& folder) {
  Path path = folder / "config.json";
  return parse_vit_config(read_file(path, kMaxBytes), path.string());
}

VitConfig parse_vit_config(const std::string& text, const std::string& where) {
  nlohmann::json json = parse_json_object(text, where);
  std::string type = json_value<std::string>(json, "model_type", "", where);
  if (type.empty()) fail_input(fmt::format("{}: expected model_type = \"vit\", found no model_type", where));
  if (type != "vit")
    fail_input(fmt::format("{}: expected model_type = \"vit\"; {} is not supported by this version", where, type));
  std::string problem = json_value<std::string>(json, "problem_type", "single_label_classification", where);
  if (problem != "single_label_classification")
    fail_input(fmt::format("{}: problem_type: expected single_label_classification, found {}", where, problem));
  VitConfig config;
  config.fields([&]<class T>(const char* name, T& field) { field = json_value<T>(json, name, field, where); });
  config.labels = read_labels(json, where);
  try {
    config.validate();
  } catch (const Error& e) {
    fail_input(fmt::format("{}: {}", where, e.what()));
  }
  return config;
}

std::string vit_config_json(const VitConfig& given) {
  VitConfig config = given;
  nlohmann::ordered_json json = {{"architectures", {"ViTForImageClassification"}}, {"model_type", "vit"}};
  config.fields([&](const char* name, auto& field) { json[name] = field; });
  json["encoder_stride"] = config.patch_size;
  json["problem_type"] = "single_label_classification";
  json["torch_dtype"] = "float32";
  auto ids = nlohmann::ordered_json::object(), labels = nlohmann::ordered_json::object();
  for (size_t i = 0; i < config.labels.size(); ++i) ids[std::to_string(i)] = config.labels[i];
  for (size_t i = 0; i < config.labels.size(); ++i) labels[config.labels[i]] = i;
  json["id2label"] = ids, json["label2id"] = labels;
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace viaduct
