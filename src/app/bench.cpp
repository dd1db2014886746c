#include "app/bench.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/files.hpp"
#include "core/base/log.hpp"
#include "data/jpeg_encode.hpp"
#include "data/scenes.hpp"
#include "train/nearest.hpp"

namespace viaduct::app {
namespace {

constexpr int kPictures = 32, kPictureSide = 400;

// A few files in memory, named again and again: decoding is real, the disk is not measured.
class DrawnImages final : public Dataset {
 public:
  DrawnImages(int64_t size, int64_t classes) : size_(size), classes_(size_t(classes)) {
    SceneOptions options;
    options.size = kPictureSide;
    for (int64_t i = 0; i < kPictures; ++i)
      files_.push_back(encode_jpeg(draw_scene(options, i, compose_scene(options, i)), options.jpeg_quality));
    for (size_t c = 0; c < classes_.size(); ++c) classes_[c] = fmt::format("class {}", c);
  }
  int64_t size() const override { return size_; }
  std::string id(int64_t i) const override { return fmt::format("drawn-{}", i); }
  std::vector<uint8_t> read(int64_t i) const override { return files_[size_t(i) % files_.size()]; }
  bool has_labels() const override { return true; }
  int32_t label(int64_t i) const override { return int32_t(i % int64_t(classes_.size())); }
  const std::vector<std::string>& classes() const override { return classes_; }

 private:
  int64_t size_;
  std::vector<std::vector<uint8_t>> files_;
  std::vector<std::string> classes_;
};

struct Subject {
  const char* name;
  BenchRow (*run)(const Invocation&);  // absent: not in this version
};
const std::vector<Subject> kSubjects = {{"train", bench_train}, {"infer", bench_infer}, {"loader", bench_loader},
                                        {"comm", nullptr},      {"kernels", nullptr},   {"attention", nullptr},
                                        {"gemm", nullptr}};

const Subject& find_subject(const std::string& name) {
  std::vector<std::string> known;
  for (const Subject& s : kSubjects) {
    if (name == s.name && !s.run)
      fail_config(fmt::format("viaduct bench {} is not in this version; use train, infer or loader", name));
    if (name == s.name) return s;
    if (s.run) known.push_back(s.name);
  }
  std::string meant = nearest(name, known, 2);
  fail_config(fmt::format("unknown bench subject '{}'; {}", name,
                          meant.empty() ? "expected train, infer or loader" : "did you mean " + meant + "?"));
}

void print(const std::string& subject, const BenchRow& row) {
  fmt::print("bench {}\n", subject);
  for (const auto& [name, value] : row.settings) fmt::print("  {:<30} {}\n", name, value);
  for (const auto& [name, value] : row.values) fmt::print("  {:<30} {:.6g}\n", name, value);
}

void write_json(const std::string& path, const std::string& subject, const BenchRow& row) {
  nlohmann::ordered_json object = {{"subject", subject}};
  for (const auto& [name, value] : row.settings) object[name] = value;
  for (const auto& [name, value] : row.values) object[name] = value;
  write_file_durable(path, object.dump() + "\n");
}

Exit run(const Invocation& call) {
  if (call.subjects.empty()) fail_config("viaduct bench needs a subject: train, infer or loader");
  const Subject& subject = find_subject(call.subjects[0]);
  settle(call);
  BenchRow row = subject.run(call);
  if (call.world.rank == 0) {
    print(subject.name, row);
    if (!call.config.bench.json.empty()) write_json(call.config.bench.json, subject.name, row);
  }
  return Exit::ok;
}

}  // namespace

StepTimes step_times(std::vector<double> seconds) {
  expect(!seconds.empty(), "a benchmark measures at least one step");
  std::sort(seconds.begin(), seconds.end());
  return {seconds[seconds.size() / 2], seconds.front()};
}

DatasetPtr bench_images(const Config& config, int64_t classes) {
  if (!config.data.train.empty()) return open_labelled(config.data.train, Split::train);
  return std::make_shared<DrawnImages>(1 << 20, classes);
}

const Command bench_command = {
    "bench",
    "train|infer|loader",
    "how fast this machine runs a model",
    "Measures whole steps of the model that [model] describes (ViT-B/16-224 unless told otherwise) and compares them "
    "with the\n"
    "rate of plain matrix products in the same run. Rates are of all ranks together, from the middle of the step "
    "times;\n"
    "`best_` ones from the shortest. Images: data.train, or drawn ones. Say train.batch_size, train.precision and\n"
    "data.workers as for a run.",
    {"bench", "model", "data", "train", "parallel", "device"},
    1,
    false,
    run};

}  // namespace viaduct::app
