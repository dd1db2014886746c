#include "app/predictions.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "app/pair_page.hpp"
#include "core/base/log.hpp"
#include "core/ops/host_values.hpp"
#include "data/decode.hpp"
#include "data/jpeg_encode.hpp"
#include "data/resize.hpp"
#include "models/safetensors.hpp"

namespace viaduct::app {
namespace {

constexpr size_t kShownPairs = 120;

using Json = nlohmann::ordered_json;
std::string text_of(const Json& object) { return object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }

// A path, or the line of the file that lists the pair.
Json id_of(const Dataset& data, int64_t sample) {
  if (data.has_text()) return data.line(sample);
  return data.id(sample);
}

// The file itself where the picture is small.
std::vector<uint8_t> thumbnail(std::vector<uint8_t> file) {
  constexpr int kSide = 384, kQuality = 85;
  const Image image = decode_image(file);
  const int longer = std::max(image.height, image.width);
  if (longer <= kSide) return file;
  Image small(std::max(1, image.height * kSide / longer), std::max(1, image.width * kSide / longer));
  const ResizeTarget whole{small.height, small.width, {0, 0, small.height, small.width}};
  Resizer().resize({image.row(0), image.height, image.width, int64_t(image.width) * 3}, whole, Resample::bilinear,
                   small.row(0), int64_t(small.width) * 3);
  return encode_jpeg(small, kQuality);
}

}  // namespace

Predictions::Predictions(Engine& engine, DatasetPtr data, const PredictSection& wanted)
    : engine_(engine), data_(std::move(data)), wanted_(wanted) {}

std::string Predictions::image_line(int64_t sample, const float* logits) const {
  const auto& labels = vit(engine_.source().config).labels;
  size_t classes = labels.size(), top = std::min(classes, size_t(wanted_.top_k));
  std::vector<size_t> order(classes);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  double sum = 0, largest = logits[order[0]];
  for (size_t c = 0; c < classes; ++c) sum += std::exp(logits[c] - largest);
  Json object = {{"id", id_of(*data_, sample)}, {"labels", Json::array()}, {"scores", Json::array()}};
  for (size_t k = 0; k < top; ++k) {
    object["labels"].push_back(labels[order[k]]);
    object["scores"].push_back(std::exp(logits[order[k]] - largest) / sum);
  }
  if (wanted_.logits) object["logits"] = std::vector<float>(logits, logits + classes);
  return text_of(object);
}

std::string Predictions::pair_line(int64_t sample, const float* logits) const {
  Json object = {{"id", id_of(*data_, sample)},
                 {"image", data_->image(sample)},
                 {"text", data_->texts(sample)[0]},
                 {"score", 1 / (1 + std::exp(double(logits[0]) - logits[1]))}};
  if (wanted_.logits) object["logits"] = {logits[0], logits[1]};
  return text_of(object);
}

std::string Predictions::similarity_line(int64_t sample, const float* vectors, int64_t width) {
  if (!wanted_.embeddings.empty()) embeddings_[sample].assign(vectors, vectors + 2 * width);
  double cosine = std::inner_product(vectors, vectors + width, vectors + width, 0.0);
  return text_of({{"id", id_of(*data_, sample)},
                  {"image", data_->image(sample)},
                  {"text", data_->texts(sample)[0]},
                  {"score", cosine}});
}

std::string Predictions::line_of(int64_t sample, const float* row, int64_t columns) {
  const TaskChoice& choice = engine_.source().choice;
  if (choice.classifies()) return image_line(sample, row);
  return choice.first == "itm" ? pair_line(sample, row) : similarity_line(sample, row, columns / 2);
}

std::string Predictions::lines(const Batch& batch) {
  std::map<int64_t, std::string> lines;
  for (const Quarantined& bad : batch.quarantined)
    lines[bad.sample] = text_of({{"id", id_of(*data_, bad.sample)}, {"error", bad.reason}});
  if (batch.size() > 0) {
    Ctx& ctx = engine_.work().ctx;
    auto scope = ctx.arena.scope("predict");
    Tensor raw = engine_.task().predict(ctx, engine_.upload()(batch, ctx.stream));
    std::vector<float> values = ops::host_values(ctx, raw);
    const int64_t columns = raw.shape[1];
    for (int64_t b = 0; b < batch.size(); ++b) {
      int64_t sample = batch.samples[size_t(b)];
      lines[sample] = line_of(sample, values.data() + b * columns, columns);
    }
  }
  std::string text;
  for (const auto& [sample, line] : lines) text += line;
  return text;
}

void Predictions::write_embeddings(Communicator& comm) const {
  if (wanted_.embeddings.empty()) return;
  const int64_t width = bridgetower(engine_.source().config).contrastive_hidden_size, n = data_->size();
  std::string mine;
  for (const auto& [sample, vectors] : embeddings_) {
    mine.append(reinterpret_cast<const char*>(&sample), sizeof sample);
    mine.append(reinterpret_cast<const char*>(vectors.data()), vectors.size() * sizeof(float));
  }
  std::vector<float> texts(size_t(n * width)), images(size_t(n * width));
  const size_t vector_bytes = size_t(width) * sizeof(float), record = sizeof(int64_t) + 2 * vector_bytes;
  for (const std::string& part : comm.all_gather_text(mine))
    for (size_t at = 0; at < part.size(); at += record) {
      int64_t sample = 0;
      std::memcpy(&sample, part.data() + at, sizeof sample);
      std::memcpy(texts.data() + sample * width, part.data() + at + sizeof sample, vector_bytes);
      std::memcpy(images.data() + sample * width, part.data() + at + sizeof sample + vector_bytes, vector_bytes);
    }
  if (comm.rank() != 0) return;
  const Path file = wanted_.embeddings, part = wanted_.embeddings + ".part";
  std::filesystem::remove(part);
  write_safetensors(
      part, {{"text_embeds", "F32", {n, width}, texts.data()}, {"image_embeds", "F32", {n, width}, images.data()}});
  std::filesystem::rename(part, file);
  log::info("{} x {} vectors of texts and images: {}", n, width, wanted_.embeddings);
}

void show_pairs(const PredictSection& wanted, const Dataset& data, const std::string& title) {
  if (wanted.page.empty()) return;
  std::vector<ScoredPair> pairs;
  std::ifstream lines(wanted.output);
  std::string line;
  for (int64_t i = 0; i < data.size() && pairs.size() < kShownPairs && std::getline(lines, line); ++i) {
    Json object = Json::parse(line);
    if (!object.contains("score") || !object["score"].is_number()) continue;  // unreadable, or not finite
    ScoredPair pair{.image = object["image"], .text = object["text"], .score = object["score"]};
    if (data.has_labels()) pair.match = data.label(i) == 1;
    if (pairs.empty() || pairs.back().image != pair.image) pair.file = thumbnail(data.read(i));
    pairs.push_back(std::move(pair));
  }
  write_pair_page(wanted.page, title, pairs, data.size());
  fmt::print("\n{}page: {}\n", pair_table(pairs, data.size()), wanted.page);
}

}  // namespace viaduct::app
