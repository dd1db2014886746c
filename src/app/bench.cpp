#include "app/bench.hpp"

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/base/files.hpp"
#include "core/base/log.hpp"
#include "data/jpeg_encode.hpp"
#include "data/scenes.hpp"
#include "data/word_vocabulary.hpp"
#include "train/nearest.hpp"

namespace viaduct::app {
namespace {

constexpr int kPictures = 32, kPictureSide = 400, kWordsOfText = 600;
constexpr int64_t kImages = 1 << 20, kPairs = 1 << 14;  // more pairs would only take longer to count the tokens of
constexpr const char* kWord = " red";

// A few files in memory, named again and again: decoding is real, the disk is not measured.
class DrawnImages final : public Dataset {
 public:
  DrawnImages(int64_t size, int64_t classes, bool with_texts) : size_(size), classes_(size_t(classes)) {
    SceneOptions options;
    options.size = kPictureSide;
    for (int64_t i = 0; i < kPictures; ++i)
      files_.push_back(encode_jpeg(draw_scene(options, i, compose_scene(options, i)), options.jpeg_quality));
    for (size_t c = 0; c < classes_.size(); ++c) classes_[c] = fmt::format("class {}", c);
    if (with_texts) texts_ = {repeated(kWord, kWordsOfText)};
  }
  int64_t size() const override { return size_; }
  std::string id(int64_t i) const override { return fmt::format("drawn-{}", i); }
  std::vector<uint8_t> read(int64_t i) const override { return files_[size_t(i) % files_.size()]; }
  bool has_labels() const override { return !classes_.empty(); }
  int32_t label(int64_t i) const override { return int32_t(i % int64_t(classes_.size())); }
  const std::vector<std::string>& classes() const override { return classes_; }
  bool has_text() const override { return !texts_.empty(); }
  const std::vector<std::string>& texts(int64_t) const override { return texts_; }

 private:
  static std::string repeated(const char* word, int times) {
    std::string text;
    for (int i = 0; i < times; ++i) text += word;
    return text;
  }
  int64_t size_;
  std::vector<std::vector<uint8_t>> files_;
  std::vector<std::string> classes_, texts_;
};

// The smallest tokenizer there is, on disk for as long as somebody reads it.
class DrawnTokenizer {
 public:
  DrawnTokenizer() {
    std::string name = (std::filesystem::temp_directory_path() / "viaduct-bench-XXXXXX").string();
    if (!::mkdtemp(name.data())) fail_input(fmt::format("{}: no folder can be made there", name));
    path_ = name;
    for (const auto& [file, text] : word_vocabulary({kWord + 1})) write_file_durable(path_ / file, text);
  }
  DrawnTokenizer(const DrawnTokenizer&) = delete;
  ~DrawnTokenizer() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const Path& path() const { return path_; }

 private:
  Path path_;
};

ModelSource bench_source(Config& config) {
  const bool texts = config.model.arch == "bridgetower" && config.model.pretrained.empty();
  if (!texts || !config.data.tokenizer.empty()) return resolve_model(config, {});
  DrawnTokenizer tokenizer;
  config.data.tokenizer = tokenizer.path().string();
  // As many embeddings as the real one has.
  config.model.overrides.try_emplace("text_config.vocab_size", std::to_string(BridgeTowerConfig::Text().vocab_size));
  return resolve_model(config, {});
}

struct Subject {
  const char* name;
  BenchResult (*run)(const Invocation&);  // absent: not in this version
};
const std::vector<Subject> kSubjects = {
    {"train", bench_train},         {"infer", bench_infer}, {"loader", bench_loader}, {"kernels", bench_kernels},
    {"attention", bench_attention}, {"gemm", bench_gemm},   {"comm", nullptr}};
constexpr const char* kSubjectNames = "train, infer, loader, kernels, attention or gemm";

const Subject& find_subject(const std::string& name) {
  std::vector<std::string> known;
  for (const Subject& s : kSubjects) {
    if (name == s.name && !s.run)
      fail_config(fmt::format("viaduct bench {} is not in this version; use {}", name, kSubjectNames));
    if (name == s.name) return s;
    if (s.run) known.push_back(s.name);
  }
  std::string meant = nearest(name, known, 2);
  fail_config(fmt::format("unknown bench subject '{}'; {}", name,
                          meant.empty() ? fmt::format("expected {}", kSubjectNames) : "did you mean " + meant + "?"));
}

// How a table says a value of a row.
struct Column {
  const char *key, *title;
  double unit;
};
constexpr Column kColumns[] = {{"seconds", "us", 1e-6},
                               {"best_seconds", "best", 1e-6},
                               {"bytes_per_second", "GB/s", 1e9},
                               {"flops_per_second", "TFLOP/s", 1e12},
                               {"roof_share", "% of roof", 1e-2}};

void print(const std::string& subject, const BenchResult& result) {
  fmt::print("bench {}\n", subject);
  for (const auto& [name, value] : result.all.settings) fmt::print("  {:<30} {}\n", name, value);
  for (const auto& [name, value] : result.all.values) fmt::print("  {:<30} {:.6g}\n", name, value);
  if (result.rows.empty()) return;
  fmt::print("\n  {:<24} {:<16}", "op", "shape");
  for (const Column& c : kColumns) fmt::print(" {:>10}", c.title);
  for (const BenchRow& row : result.rows) {
    fmt::print("\n  {:<24} {:<16}", row.settings[0].second, row.settings[1].second);
    for (const Column& c : kColumns)
      for (const auto& [name, value] : row.values)
        if (name == c.key) fmt::print(" {:>10.2f}", value / c.unit);
  }
  fmt::print("\n");
}

void add(nlohmann::ordered_json& object, const BenchRow& row) {
  for (const auto& [name, value] : row.settings) object[name] = value;
  for (const auto& [name, value] : row.values) object[name] = value;
}

// An object a row, each with what holds for all.
void write_json(const std::string& path, const std::string& subject, const BenchResult& result) {
  nlohmann::ordered_json all = {{"subject", subject}};
  add(all, result.all);
  std::string lines;
  for (const BenchRow& row : result.rows) {
    nlohmann::ordered_json object = all;
    add(object, row);
    lines += object.dump() + "\n";
  }
  write_file_durable(path, result.rows.empty() ? all.dump() + "\n" : lines);
}

Exit run(const Invocation& call) {
  if (call.subjects.empty()) fail_config(fmt::format("viaduct bench needs a subject: {}", kSubjectNames));
  const Subject& subject = find_subject(call.subjects[0]);
  settle(call);
  BenchResult result = subject.run(call);
  if (call.world.rank == 0) {
    print(subject.name, result);
    if (!call.config.bench.json.empty()) write_json(call.config.bench.json, subject.name, result);
  }
  return Exit::ok;
}

}  // namespace

StepTimes step_times(std::vector<double> seconds) {
  expect(!seconds.empty(), "a benchmark measures at least one step");
  std::sort(seconds.begin(), seconds.end());
  return {seconds[seconds.size() / 2], seconds.front()};
}

BenchSubject::BenchSubject(const Config& given, Communicator& comm) : config(given), source(bench_source(config)) {
  const bool classifies = source.choice.classifies();
  if (!config.data.train.empty())
    data = classifies ? open_labelled(config.data.train, Split::train) : open_data(config, source.choice).train;
  else
    data = std::make_shared<DrawnImages>(classifies ? kImages : kPairs, classifies ? vit(source.config).classes() : 0,
                                         !classifies);
  if (classifies && data->classes().size() != vit(source.config).labels.size())
    source = resolve_model(config, data->classes());
  texts = fit_to_texts(source, config, {data}, comm)[0];
}

const Command bench_command = {
    "bench",
    "train|infer|loader|kernels|attention|gemm",
    "how fast this machine runs a model, or single ops",
    "train, infer, loader: measures whole steps of the model that [model] describes (ViT-B/16-224 unless told "
    "otherwise) and compares them "
    "with the\n"
    "rate of plain matrix products in the same run. Rates are of all ranks together, from the middle of the step "
    "times;\n"
    "`best_` ones from the shortest. Images: data.train, or drawn ones with long texts. Say train.batch_size,\n"
    "train.precision, data.workers, and of an image-text model task.name and data.max_text_length, as for a run.\n\n"
    "kernels, attention, gemm: measures single ops on the device, by its own clock, with operands that are not in its\n"
    "caches: those of a ViT's step that memory bounds, attention of several lengths (or of [model]), and the products "
    "of a block. 64 "
    "images\n"
    "unless train.batch_size says otherwise. Shares are of the rate of a large copy or of a large product, whichever "
    "bounds.",
    {"bench", "model", "task", "data", "train", "parallel", "device"},
    1,
    false,
    run};

}  // namespace viaduct::app
