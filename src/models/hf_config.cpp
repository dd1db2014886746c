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
using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

bool looks_like_hub_id(const std::string& name) {  // "google/vit-base-patch16-224"
  auto allowed = [](char c) { return std::isalnum(uint8_t(c)) || c == '-' || c == '_' || c == '.' || c == '/'; };
  size_t slash = name.find('/');
  return std::all_of(name.begin(), name.end(), allowed) && name[0] != '.' && slash != name.npos && slash > 0 &&
         slash + 1 < name.size() && name.find('/', slash + 1) == name.npos;
}

// id2label maps "0", "1", .. to names; without it the class default: two classes.
std::vector<std::string> read_labels(const Json& json, const std::string& where) {
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

VitConfig parse_vit(const Json& json, const std::string& where) {
  std::string problem = json_value<std::string>(json, "problem_type", "single_label_classification", where);
  if (problem != "single_label_classification")
    fail_input(fmt::format("{}: problem_type: expected single_label_classification, found {}", where, problem));
  VitConfig config;
  config.fields([&]<class T>(const char* name, T& field) { field = json_value<T>(json, name, field, where); });
  config.labels = read_labels(json, where);
  return config;
}

constexpr const char* kDeitClass = "DeiTForImageClassificationWithTeacher";

// The class with one head has a token that nothing reads.
VitConfig parse_deit(const Json& json, const std::string& text, const std::string& where) {
  if (const std::string found = parse_architecture(text, where); found != kDeitClass)
    fail_input(fmt::format("{}: model_type = \"deit\": expected architectures = [\"{}\"], found {}", where, kDeitClass,
                           found.empty() ? "none" : found));
  VitConfig config = parse_vit(json, where);
  config.distillation_token = true;
  return config;
}

OrderedJson vit_json(VitConfig config) {
  OrderedJson json;
  config.fields([&](const char* name, auto& field) { json[name] = field; });
  json["encoder_stride"] = config.patch_size;
  json["problem_type"] = "single_label_classification";
  auto ids = OrderedJson::object(), labels = OrderedJson::object();
  for (size_t i = 0; i < config.labels.size(); ++i) ids[std::to_string(i)] = config.labels[i];
  for (size_t i = 0; i < config.labels.size(); ++i) labels[config.labels[i]] = i;
  json["id2label"] = ids, json["label2id"] = labels;
  return json;
}

// "text_config.vocab_size": the object that holds the field, and the field.
std::pair<std::string, std::string> split_name(const std::string& name) {
  size_t dot = name.find('.');
  return dot == name.npos ? std::pair(std::string(), name) : std::pair(name.substr(0, dot), name.substr(dot + 1));
}

// Settings that BridgeTower's configuration classes know and that have one value here: with the other one transformers
// has parameters that its own forward cannot use (the first two, is_decoder) or computes something else.
struct Fixed {
  const char *object, *key;
  bool value;
};
constexpr Fixed kFixed[] = {{"", "share_cross_modal_transformer_layers", true},
                            {"", "share_link_tower_layers", false},
                            {"", "init_layernorm_from_vision_encoder", false},
                            {"vision_config", "share_layernorm", true},
                            {"vision_config", "remove_last_layer", false},
                            {"vision_config", "stop_gradient", false},
                            {"text_config", "is_decoder", false},
                            {"text_config", "add_cross_attention", false}};
constexpr const char* kPositions = "absolute";

BridgeTowerConfig parse_bridgetower(const Json& json, const std::string& where) {
  auto object = [&](const std::string& name) {
    if (name.empty()) return json;
    Json inner = json.value(name, Json());
    if (inner.is_null()) return Json::object();
    if (!inner.is_object()) fail_input(fmt::format("{}: {}: expected an object", where, name));
    return inner;
  };
  std::map<std::string, Json> objects;
  for (const char* name : {"", "text_config", "vision_config"}) objects[name] = object(name);
  auto place = [&](const std::string& object) { return object.empty() ? where : where + ": " + object; };
  for (const Fixed& f : kFixed)
    if (json_value<bool>(objects[f.object], f.key, f.value, place(f.object)) != f.value)
      fail_input(fmt::format("{}: {}: expected {}; {} is not supported", place(f.object), f.key, f.value, !f.value));
  std::string positions =
      json_value<std::string>(objects["text_config"], "position_embedding_type", kPositions, place("text_config"));
  if (positions != kPositions)
    fail_input(fmt::format("{}: position_embedding_type: expected {}; {} is not supported", place("text_config"),
                           kPositions, positions));
  BridgeTowerConfig config;
  config.fields([&]<class T>(const char* name, T& field) {
    auto [object, key] = split_name(name);
    field = json_value<T>(objects[object], key.c_str(), field, place(object));
  });
  return config;
}

OrderedJson bridgetower_json(BridgeTowerConfig config) {
  OrderedJson json, text = {{"model_type", "bridgetower_text_model"}},
                    vision = {{"model_type", "bridgetower_vision_model"}};
  auto object = [&](const std::string& name) -> OrderedJson& {
    return name.empty() ? json : name == "text_config" ? text : vision;
  };
  config.fields([&](const char* name, auto& field) {
    auto [inside, key] = split_name(name);
    object(inside)[key] = field;
  });
  for (const Fixed& f : kFixed) object(f.object)[f.key] = f.value;
  text["position_embedding_type"] = kPositions;
  json["num_attention_heads"] = config.text.num_attention_heads;  // which is the one that counts
  // Transformers 4.56 asks the text's flag whether the decoder is the word embedding, versions before it this one.
  json["tie_word_embeddings"] = config.text.tie_word_embeddings;
  json["text_config"] = text, json["vision_config"] = vision;
  return json;
}

}  // namespace

Path find_model_folder(const std::string& name, const std::string& key) {
  if (!fs::exists(name)) {
    if (looks_like_hub_id(name))
      fail_config(
          fmt::format("{1}: there is no folder '{0}'; if the model of that name on the Hugging Face "
                      "Hub is meant, fetch it first:\n  hf download {0} --local-dir {0}",
                      name, key));
    fail_config(fmt::format("{}: there is no folder '{}'", key, name));
  }
  Path folder = name;
  auto has = [&](const char* file) { return fs::exists(folder / file); };
  if (!fs::is_directory(folder))
    fail_config(
        fmt::format("{}: expected a folder with config.json and model.safetensors, found the file '{}'", key, name));
  if (!has("config.json")) fail_input(fmt::format("{}: expected a model folder, found no config.json in it", name));
  if (has("model.safetensors") || has("model.safetensors.index.json")) return folder;
  if (has("pytorch_model.bin") || has("pytorch_model.bin.index.json"))
    fail_input(
        fmt::format("{}: expected model.safetensors, found only pickled weights, which can run code when read; "
                    "convert them once:\n  python3 launch/to_safetensors.py {}",
                    name, name));
  fail_input(fmt::format("{}: expected model.safetensors or model.safetensors.index.json, found neither", name));
}

ModelConfig read_model_config(const Path& folder) {
  Path path = folder / "config.json";
  return parse_model_config(read_file(path, kMaxBytes), path.string());
}

ModelConfig parse_model_config(const std::string& text, const std::string& where) {
  Json json = parse_json_object(text, where);
  std::string type = json_value<std::string>(json, "model_type", "", where);
  if (type != "vit" && type != "deit" && type != "bridgetower")
    fail_input(fmt::format("{}: expected model_type = \"vit\", \"deit\" or \"bridgetower\", found {}", where,
                           type.empty() ? "no model_type" : "\"" + type + "\""));
  ModelConfig config;
  if (type == "vit")
    config = parse_vit(json, where);
  else if (type == "deit")
    config = parse_deit(json, text, where);
  else
    config = parse_bridgetower(json, where);
  try {
    validate(config);
  } catch (const Error& e) {
    fail_input(fmt::format("{}: {}", where, e.what()));
  }
  return config;
}

std::string model_config_json(const ModelConfig& config, const std::string& architecture) {
  OrderedJson json = {{"architectures", {architecture}},
                      {"model_type", is_bridgetower(config)           ? "bridgetower"
                                     : vit(config).distillation_token ? "deit"
                                                                      : "vit"},
                      {"torch_dtype", "float32"}};
  json.update(is_bridgetower(config) ? bridgetower_json(bridgetower(config)) : vit_json(vit(config)));
  return json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

std::string parse_architecture(const std::string& text, const std::string& where) {
  Json json = parse_json_object(text, where);
  auto found = json.find("architectures");
  bool named = found != json.end() && found->is_array() && !found->empty() && found->front().is_string();
  return named ? found->front().get<std::string>() : "";
}

}  // namespace viaduct
