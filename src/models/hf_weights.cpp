#include "models/hf_weights.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/base/log.hpp"
#include "models/hf_layout.hpp"

namespace viaduct {
namespace {

constexpr size_t kMaxNamed = 10;         // in one message
constexpr const char* kPrefix = "vit.";  // a file saved from the bare ViTModel has names without it

std::string first_few(const std::vector<std::string>& all, const std::string& separator) {
  std::string text;
  for (size_t i = 0; i < std::min(all.size(), kMaxNamed); ++i) text += (i ? separator : "") + all[i];
  return all.size() > kMaxNamed ? fmt::format("{}{}and {} more", text, separator, all.size() - kMaxNamed) : text;
}

// The side of the patch grid that positions [1, 1 + side^2, width] were made for; 0 when they are nothing of that kind.
int64_t grid_of(const std::vector<int64_t>& shape, int64_t width) {
  if (shape.size() != 3 || shape[0] != 1 || shape[2] != width || shape[1] < 2) return 0;
  auto side = int64_t(std::lround(std::sqrt(double(shape[1] - 1))));
  return side * side == shape[1] - 1 ? side : 0;
}

class WeightImport {
 public:
  WeightImport(const HfTensors& tensors, const VitConfig& config, ParameterStore& store, uint64_t seed, Tensor master,
               Range owned)
      : tensors_(tensors), config_(config), store_(store), seed_(seed), master_(master), owned_(owned) {}

  LoadedWeights run() {
    bool head = classifier_fits();
    for (Parameter& p : store_.parameters()) check(p, head);
    if (!wrong_.empty())
      fail_input(fmt::format("{}: the weights do not fit the model:\n  {}", file_name_, first_few(wrong_, "\n  ")));
    for (Parameter& p : store_.parameters()) {
      if (!head && p.name.starts_with("classifier."))
        reinitialize(p);
      else
        fill(p);
    }
    for (const std::string& name : tensors_.names())
      if (!used_.contains(name)) result_.ignored.push_back(name);
    report(head);
    return std::move(result_);
  }

 private:
  HfTensors::Found find(const std::string& name) const {
    auto found = tensors_.find(name);
    return found || !name.starts_with(kPrefix) ? found : tensors_.find(name.substr(std::string(kPrefix).size()));
  }
  bool is_position(const Parameter& p) const { return p.name.ends_with(".position_embeddings"); }

  bool classifier_fits() const {
    for (const Parameter& p : store_.parameters()) {
      if (!p.name.starts_with("classifier.")) continue;
      auto found = find(p.name);
      if (!found || found.entry->shape != hf_tensors(p, config_)[0].shape) return false;
    }
    return true;
  }

  void check(const Parameter& p, bool head) {
    for (const HfTensor& t : hf_tensors(p, config_)) {
      auto found = find(t.name);
      if (found) used_.insert(found.entry->name), file_name_ = found.file->path().string();
      if (!head && p.name.starts_with("classifier.")) continue;
      if (!found)
        wrong_.push_back(fmt::format("{}: expected {}, found no such tensor", t.name, to_string(t.shape)));
      else if (found.entry->shape != t.shape && !(is_position(p) && grid_of(found.entry->shape, config_.hidden_size)))
        wrong_.push_back(
            fmt::format("{}: expected {}, found {}", t.name, to_string(t.shape), to_string(found.entry->shape)));
    }
  }

  void fill(Parameter& p) {
    values_.clear();
    for (const HfTensor& t : hf_tensors(p, config_)) {
      auto found = find(t.name);
      size_t at = values_.size();
      values_.resize(at + size_t(found.entry->numel()));
      found.file->read(*found.entry, values_.data() + at);
      for (size_t i = at; i < values_.size(); ++i)
        if (!std::isfinite(values_[i]))
          fail_input(fmt::format("{}: tensor '{}': expected finite values, found {} at element {}",
                                 found.file->path().string(), found.entry->name, values_[i], i - at));
      if (is_position(p) && found.entry->shape != t.shape) interpolate(found.entry->shape);
    }
    expect(int64_t(values_.size()) == p.range.size(), "the tensors of a parameter make up all of it");
    store(p);
  }

  void interpolate(const std::vector<int64_t>& shape) {
    int64_t from = grid_of(shape, config_.hidden_size);
    values_ = interpolate_positions(values_, from, config_.grid(), config_.hidden_size);
    result_.interpolated_positions = true;
    log::info("position embeddings interpolated from {0} x {0} to {1} x {1} patches", from, config_.grid());
  }

  void reinitialize(Parameter& p) {
    store_.initialize(p, seed_);
    if (!master_) return;
    values_.resize(size_t(p.range.size()));
    dispatch(p.value.dtype, [&]<class T>() { std::copy_n(data<T>(p.value), values_.size(), values_.data()); });
    store(p);
  }

  // values_ to the store, rounded, and to the part of the master that covers the parameter.
  void store(const Parameter& p) {
    dispatch(p.value.dtype, [&]<class T>() {
      T* out = data<T>(p.value);
      for (size_t i = 0; i < values_.size(); ++i) out[i] = T(values_[i]);
    });
    Range shared{std::max(p.range.begin, owned_.begin), std::min(p.range.end, owned_.end)};
    if (master_ && !shared.empty())
      std::copy_n(values_.data() + (shared.begin - p.range.begin), shared.size(),
                  data<float>(master_) + (shared.begin - owned_.begin));
  }

  void report(bool head) {
    result_.new_classifier = !head;
    if (!head) {
      auto found = find("classifier.weight");
      log::info("classifier initialised anew for {} classes ({})", config_.classes(),
                found ? "the checkpoint's has shape " + to_string(found.entry->shape) : "the checkpoint has none");
    }
    if (!result_.ignored.empty())
      log::info("{} tensors of the checkpoint that this model does not have are ignored: {}", result_.ignored.size(),
                first_few(result_.ignored, ", "));
  }

  const HfTensors& tensors_;
  const VitConfig& config_;
  ParameterStore& store_;
  uint64_t seed_;
  Tensor master_;
  Range owned_;
  std::vector<std::string> wrong_;
  std::set<std::string> used_;
  std::string file_name_ = "model.safetensors";
  std::vector<float> values_;  // of one parameter at a time
  LoadedWeights result_;
};

double cubic(double x) {  // Keys' kernel
  constexpr double a = -0.75;
  x = std::abs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

}  // namespace

LoadedWeights load_vit_weights(const HfTensors& tensors, const VitConfig& config, ParameterStore& store, uint64_t seed,
                               Tensor master, Range owned) {
  expect(!master || master.shape == Shape({owned.size()}), "the master holds one value per owned element");
  return WeightImport(tensors, config, store, seed, master, owned).run();
}

std::vector<float> interpolate_positions(const std::vector<float>& rows, int64_t from, int64_t to, int64_t width) {
  expect(int64_t(rows.size()) == (1 + from * from) * width, "positions are one row per patch and one for the class");
  std::vector<float> out(size_t((1 + to * to) * width));
  std::copy_n(rows.begin(), width, out.begin());
  struct Taps {
    int64_t index[4];
    double weight[4];
  };
  std::vector<Taps> taps(static_cast<size_t>(to));
  for (int64_t i = 0; i < to; ++i) {
    double source = (double(i) + 0.5) * double(from) / double(to) - 0.5, floor = std::floor(source);
    for (int k = 0; k < 4; ++k) {
      taps[size_t(i)].index[k] = std::clamp<int64_t>(int64_t(floor) + k - 1, 0, from - 1);
      taps[size_t(i)].weight[k] = cubic(source - (floor + k - 1));
    }
  }
  for (int64_t y = 0; y < to; ++y)
    for (int64_t x = 0; x < to; ++x)
      for (int64_t c = 0; c < width; ++c) {
        const Taps &ty = taps[size_t(y)], &tx = taps[size_t(x)];
        double sum = 0;
        for (int j = 0; j < 4; ++j)
          for (int i = 0; i < 4; ++i)
            sum += ty.weight[j] * tx.weight[i] * rows[size_t((1 + ty.index[j] * from + tx.index[i]) * width + c)];
        out[size_t((1 + y * to + x) * width + c)] = float(sum);
      }
  return out;
}

}  // namespace viaduct
