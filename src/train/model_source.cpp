#include "train/model_source.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/base/check.hpp"
#include "core/base/log.hpp"
#include "models/hf_config.hpp"
#include "train/image_processor.hpp"
#include "train/student.hpp"

namespace viaduct {
namespace {

constexpr int64_t kMaxConfigBytes = 64 << 20;

// Of a run folder its model/.
std::string model_folder(const std::string& name) {
  return std::filesystem::exists(name + "/model/config.json") ? name + "/model" : name;
}

std::string task_of_architecture(const std::string& architecture) {
  if (architecture == "BridgeTowerForImageAndTextRetrieval") return "itm";
  if (architecture == "BridgeTowerForContrastiveLearning") return "itc";
  return architecture == "BridgeTowerForMaskedLM" ? "mlm" : "";
}

ModelConfig default_config(const Config& config) {
  return config.model.arch == "bridgetower" ? ModelConfig(BridgeTowerConfig()) : ModelConfig(VitConfig());
}

// The config.json in question, before overrides.
ModelConfig read_config(const Config& config, const Path& folder) {
  ModelConfig read = read_model_config(folder);
  const char* found = is_bridgetower(read) ? "bridgetower" : "vit";
  if (config.origins.contains("model.arch") && config.model.arch != found)
    fail_config(fmt::format("model.arch = {} ({}) but {} is a {}", config.model.arch, config.origin("model.arch"),
                            (folder / "config.json").string(), found));
  return read;
}

TaskChoice choose(const Config& config, const ModelConfig& model) {
  TaskChoice choice = choose_task(config);
  if (!is_bridgetower(model) && !choice.classifies())
    fail_config(
        fmt::format("task.name = {} ({}) needs an image-text model: model.arch = bridgetower, or "
                    "model.pretrained with one",
                    config.task.name, config.origin("task.name")));
  if (is_bridgetower(model) && choice.distils)
    fail_config(
        "task.name = distillation is of a ViT by a ViT in this version; model.arch = vit, or model.pretrained with "
        "one");
  if (is_bridgetower(model) && choice.classifies())
    fail_config(fmt::format("task.name = {} ({}): a BridgeTower learns itm, itc or mlm, or a weighted sum of them",
                            config.task.name, config.origin("task.name")));
  return choice;
}

Path folder_of(const Config& config) {
  return config.model.pretrained.empty() ? Path() : find_model_folder(model_folder(config.model.pretrained));
}

TokenizerPtr load_tokenizer(const Config& config, const ModelSource& source) {
  const std::string& given = config.data.tokenizer;
  const std::string& folder = given.empty() ? source.folder : given;
  if (folder.empty())
    fail_config(
        "data.tokenizer is not set: an image-text model from random weights needs a folder with vocab.json and "
        "merges.txt, or tokenizer.json");
  if (given.empty() && !Tokenizer::is_in(folder))
    fail_input(
        fmt::format("{}: expected vocab.json and merges.txt, or tokenizer.json, found neither; set "
                    "data.tokenizer to the folder that has them",
                    folder));
  return Tokenizer::load(folder);
}

// A model from random weights has as many embeddings as its tokenizer has tokens, unless told otherwise.
void fit_vocabulary(const Config& config, ModelSource& source) {
  auto& text = std::get<BridgeTowerConfig>(source.config).text;
  const bool free = source.folder.empty() && !config.model.overrides.contains("text_config.vocab_size");
  if (free) text.vocab_size = source.tokenizer->vocab_size();
  const std::string& folder = config.data.tokenizer.empty() ? source.folder : config.data.tokenizer;
  if (source.tokenizer->vocab_size() > text.vocab_size)
    fail_config(fmt::format("the tokenizer in {} has {} tokens, the model text_config.vocab_size = {}", folder,
                            source.tokenizer->vocab_size(), text.vocab_size));
  if (source.tokenizer->pad() != text.pad_token_id)
    fail_config(fmt::format("the tokenizer in {} pads with id {}, the model with text_config.pad_token_id = {}", folder,
                            source.tokenizer->pad(), text.pad_token_id));
}

// What task.teacher names, for the pixels that the student is given.
std::shared_ptr<const ModelSource> resolve_teacher(const Config& config, Tokens tokens) {
  if (config.task.teacher.empty())
    fail_config(fmt::format("task.name = distillation ({}) needs task.teacher: the folder of the model to learn from",
                            config.origin("task.name")));
  find_model_folder(model_folder(config.task.teacher), "task.teacher");
  Config its = config;
  its.model = {.pretrained = config.task.teacher}, its.task = {};
  std::erase_if(its.origins,
                [](const auto& o) { return o.first.starts_with("model.") || o.first.starts_with("task."); });
  auto teacher = std::make_shared<ModelSource>(resolve_model(its, {}, tokens));
  if (is_bridgetower(teacher->config))
    fail_config(fmt::format("task.teacher = {} ({}): distillation is of a ViT by a ViT in this version",
                            config.task.teacher, config.origin("task.teacher")));
  return teacher;
}

}  // namespace

ops::Normalization ModelSource::normalization() const {
  ops::Normalization n{.rescale = processor.do_rescale ? processor.rescale_factor : 1.0, .mean{0, 0, 0}, .std{1, 1, 1}};
  if (processor.do_normalize) n.mean = processor.mean, n.std = processor.std;
  return n;
}

std::string ModelSource::architecture() const {
  if (choice.classifies())
    return vit(config).distillation_token ? "DeiTForImageClassificationWithTeacher" : "ViTForImageClassification";
  if (choice.first == "itm") return "BridgeTowerForImageAndTextRetrieval";
  return choice.first == "itc" ? "BridgeTowerForContrastiveLearning" : "BridgeTowerForMaskedLM";
}

int64_t ModelSource::max_text_length(const Config& given) const {
  int64_t most = bridgetower(config).longest_text(), wanted = given.data.max_text_length;
  if (wanted > most)
    fail_config(fmt::format("data.max_text_length = {} ({}): the model has positions for at most {} tokens", wanted,
                            given.origin("data.max_text_length"), most));
  return wanted > 0 ? wanted : most;
}

std::map<std::string, std::string> ModelSource::more_files() const {
  std::map<std::string, std::string> files{{"preprocessor_config.json", image_processor_json(processor)}};
  if (!tokenizer) return files;
  files.insert(tokenizer->files().begin(), tokenizer->files().end());
  // transformers cuts texts at that length, and beyond the positions the model fails.
  auto settings = nlohmann::ordered_json::parse(files["tokenizer_config.json"], nullptr, false);
  auto length = settings.is_object() ? settings.find("model_max_length") : settings.end();
  const int64_t longest = bridgetower(config).longest_text();
  if (length != settings.end() && length->is_number() && length->get<double>() > double(longest)) {
    *length = longest;
    files["tokenizer_config.json"] = settings.dump(2) + "\n";
  }
  return files;
}

Config settled(Config config) {
  Path folder = folder_of(config);
  if (folder.empty()) return config;
  const std::string path = (folder / "config.json").string();
  ModelConfig model = read_config(config, folder);
  if (!config.origins.contains("model.arch"))
    set(config, "model.arch", is_bridgetower(model) ? "bridgetower" : "vit", path);
  if (is_bridgetower(model) && !config.origins.contains("task.name")) {
    std::string task = task_of_architecture(parse_architecture(read_file(path, kMaxConfigBytes), path));
    if (!task.empty()) set(config, "task.name", task, path);
  }
  return config;
}

TaskChoice resolve_task(const Config& given) {
  Config config = settled(given);
  return choose(config, default_config(config));
}

ModelSource resolve_model(const Config& given, const std::vector<std::string>& classes, Tokens tokens) {
  const Config config = settled(given);
  ModelSource source;
  Path folder = folder_of(config);
  source.folder = folder.string();
  if (config.task.name == "distillation") source.teacher = resolve_teacher(config, tokens);
  source.config = !folder.empty()  ? read_config(config, folder)
                  : source.teacher ? student_config(config, source)
                                   : default_config(config);
  source.choice = choose(config, source.config);
  int size = int(image_size(source.config));
  source.processor = is_bridgetower(source.config) ? ImageProcessor::bridgetower(size) : ImageProcessor::vit(size);
  if (!folder.empty())
    source.processor = read_image_processor(folder, source.processor);
  else if (source.teacher)
    source.processor = source.teacher->processor;
  const int64_t published = image_size(source.config);
  apply_overrides(config, source.config);
  if (config.data.image_size > 0) {
    if (image_size(source.config) != published && image_size(source.config) != config.data.image_size)
      fail_config(fmt::format("data.image_size = {} and the model's image_size = {} differ; give one of them",
                              config.data.image_size, image_size(source.config)));
    set_image_size(source.config, config.data.image_size);
  }
  if (source.processor.height != image_size(source.config) || source.processor.width != image_size(source.config))
    source.processor.set_image_size(int(image_size(source.config)));
  source.processor.pipeline = image_pipeline_named(config.data.image_pipeline);
  if (!classes.empty() && !is_bridgetower(source.config)) std::get<VitConfig>(source.config).labels = classes;
  if (is_bridgetower(source.config)) {
    if (tokens == Tokens::needed || !config.data.tokenizer.empty()) {
      source.tokenizer = load_tokenizer(config, source);
      fit_vocabulary(config, source);
    }
    source.text_tokens = source.max_text_length(config);
  }
  validate(source.config);
  if (source.teacher) check_student(config, source);
  return source;
}

}  // namespace viaduct
