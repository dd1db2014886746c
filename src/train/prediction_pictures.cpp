#include "train/prediction_pictures.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/ops/host_values.hpp"
#include "data/jpeg_encode.hpp"

namespace viaduct {
namespace {

constexpr int64_t kPictures = 8;

// Every n-th sample of another dataset, a fixed number in all.
class Spread final : public Dataset {
 public:
  Spread(DatasetPtr whole, int64_t count) : whole_(std::move(whole)), count_(count) {}
  int64_t size() const override { return count_; }
  std::string id(int64_t i) const override { return whole_->id(at(i)); }
  std::vector<uint8_t> read(int64_t i) const override { return whole_->read(at(i)); }
  bool has_labels() const override { return whole_->has_labels(); }
  int32_t label(int64_t i) const override { return whole_->label(at(i)); }
  const std::vector<std::string>& classes() const override { return whole_->classes(); }
  bool has_text() const override { return whole_->has_text(); }
  const std::vector<std::string>& texts(int64_t i) const override { return whole_->texts(at(i)); }
  std::string image(int64_t i) const override { return whole_->image(at(i)); }
  int64_t line(int64_t i) const override { return whole_->line(at(i)); }

 private:
  int64_t at(int64_t i) const { return i * whole_->size() / count_; }
  DatasetPtr whole_;
  int64_t count_;
};

constexpr uint8_t kGreen[] = {46, 158, 91}, kRed[] = {201, 80, 60};

void draw_frame(Image& image, const uint8_t* colour) {
  const int wide = std::max(2, image.width / 32);
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x)
      if (std::min({x, y, image.width - 1 - x, image.height - 1 - y}) < wide)
        std::copy_n(colour, 3, image.row(y) + 3 * x);
}

}  // namespace

bool PredictionPictures::can(const TaskChoice& choice) { return choice.classifies() || choice.first != "mlm"; }

PredictionPictures::PredictionPictures(Engine& engine, const Config& config, DatasetPtr held_out,
                                       const Communicator& comm)
    : engine_(engine) {
  LoaderOptions options = loader_options(config, Pass::evaluation, engine.source(), {}, comm, engine.device());
  data_ = std::make_shared<Spread>(held_out, std::min({kPictures, options.batch_size, held_out->size()}));
  options.rank = 0, options.ranks = 1, options.workers = 0;
  options.text.pairs = options.text.masked = false;  // what is judged is each picture's own text
  options.quarantine_budget = data_->size();
  batch_ = Loader(data_, options).next();
}

std::vector<PredictedPicture> PredictionPictures::predict() {
  std::vector<PredictedPicture> pictures;
  if (batch_.size() == 0) return pictures;
  Ctx& ctx = engine_.work().ctx;
  auto scope = ctx.arena.scope("predict");
  const Tensor raw = engine_.task().predict(ctx, engine_.upload()(batch_, ctx.stream));
  const std::vector<float> values = ops::host_values(ctx, raw);
  const int64_t columns = raw.shape[1];
  for (int64_t b = 0; b < batch_.size(); ++b) pictures.push_back(predicted(b, values.data() + b * columns, columns));
  return pictures;
}

PredictedPicture PredictionPictures::predicted(int64_t b, const float* row, int64_t columns) const {
  const int64_t sample = batch_.samples[size_t(b)];
  const TaskChoice& choice = engine_.source().choice;
  PredictedPicture p{.id = data_->has_text() ? data_->image(sample) : data_->id(sample)};
  bool right = true;
  if (choice.classifies()) {
    const auto& labels = vit(engine_.source().config).labels;
    const auto best = size_t(std::max_element(row, row + columns) - row);
    double sum = 0;
    for (int64_t c = 0; c < columns; ++c) sum += std::exp(double(row[c]) - row[best]);
    p.truth = labels[size_t(data_->label(sample))], p.prediction = labels[best], p.score = 1 / sum;
    right = p.truth == p.prediction;
  } else {
    p.truth = data_->texts(sample)[0];
    if (choice.first == "itm") {
      const bool match = !data_->has_labels() || data_->label(sample) == 1;
      p.score = 1 / (1 + std::exp(double(row[0]) - row[1]));
      p.prediction = p.score > 0.5 ? "match" : "no match";
      right = (p.score > 0.5) == match;
    } else {
      p.score = std::inner_product(row, row + columns / 2, row + columns / 2, 0.0);
      p.prediction = "cosine";
    }
  }
  Image image(int(batch_.pixels.shape[1]), int(batch_.pixels.shape[2]));
  std::copy_n(data<uint8_t>(batch_.pixels) + b * image.bytes(), image.bytes(), image.pixels.get());
  if (choice.classifies() || choice.first == "itm") draw_frame(image, right ? kGreen : kRed);
  p.height = image.height, p.width = image.width, p.file = encode_jpeg(image, 90);
  return p;
}

}  // namespace viaduct
