#include "models/hf_weights.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "core/base/log.hpp"
#include "core/device/host_copy.hpp"
#include "models/hf_layout.hpp"

namespace viaduct {
namespace {

constexpr size_t kMaxNamed = 10;  // in one message

// What an architecture allows a file to lack or to have otherwise.
struct Tolerance {
  std::string prefix;     // of the body's tensors, in files with heads; names without it are heads
  std::string positions;  // the table of image positions: [special + grid^2, width]
  int64_t grid, width;
  int64_t special = 1;                    // rows of that table before those of the patches
  std::string spare;                      // what no output depends on, and some files lack; empty: nothing
  std::string decoder, decoder_fallback;  // a tensor that is another one where a file lacks it; empty: none
};
Tolerance tolerance(const VitConfig& c) {
  const std::string body = c.distillation_token ? "deit." : "vit.";
  return {.prefix = body,
          .positions = body + "embeddings.position_embeddings",
          .grid = c.grid(),
          .width = c.hidden_size,
          .special = c.special_tokens()};
}
Tolerance tolerance(const BridgeTowerConfig& c) {
  return {.prefix = "bridgetower.",
          .positions = "bridgetower.vision_model.visual.embeddings.position_embedding.weight",
          .grid = c.grid(),
          .width = c.vision.hidden_size,
          .spare = "bridgetower.text_model.pooler.",
          .decoder = "mlm_score.decoder.weight",
          .decoder_fallback = "bridgetower.text_model.embeddings.word_embeddings.weight"};
}

std::string first_few(const std::vector<std::string>& all, const std::string& separator) {
  std::string text;
  for (size_t i = 0; i < std::min(all.size(), kMaxNamed); ++i) text += (i ? separator : "") + all[i];
  return all.size() > kMaxNamed ? fmt::format("{}{}and {} more", text, separator, all.size() - kMaxNamed) : text;
}

// The field of config.json that rules the rows of a table that files of another tokenizer have otherwise.
const char* field_of(const std::string& tensor) {
  if (tensor.ends_with("text_model.embeddings.word_embeddings.weight")) return " (text_config.vocab_size)";
  if (tensor.ends_with("text_model.embeddings.position_embeddings.weight"))
    return " (text_config.max_position_embeddings)";
  return "";
}

// The side of the patch grid that positions [special + side^2, width], with or without a 1 in front, were made for; 0
// when they are nothing of that kind.
int64_t grid_of(std::vector<int64_t> shape, int64_t width, int64_t special) {
  if (shape.size() == 3 && shape[0] == 1) shape.erase(shape.begin());
  if (shape.size() != 2 || shape[1] != width || shape[0] <= special) return 0;
  auto side = int64_t(std::lround(std::sqrt(double(shape[0] - special))));
  return side * side == shape[0] - special ? side : 0;
}

class WeightImport {
 public:
  WeightImport(const HfTensors& tensors, const ModelConfig& config, ParameterStore& store, uint64_t seed,
               const std::vector<ValuePart>& masters, int64_t every)
      : tensors_(tensors),
        config_(config),
        allowed_(std::visit([](const auto& c) { return tolerance(c); }, config)),
        store_(store),
        seed_(seed),
        masters_(masters),
        every_(every) {}

  LoadedWeights run() {
    for (const Parameter& p : store_.parameters()) check(p);
    if (!wrong_.empty())
      fail_input(fmt::format("{}: the weights do not fit the model:\n  {}", file_name_, first_few(wrong_, "\n  ")));
    for (const std::string& note : notes_) log::info("{}", note);
    for (Parameter& p : store_.parameters()) is_new(p) ? reinitialize(p) : fill(p);
    for (const std::string& name : tensors_.names())
      if (!used_.contains(name)) result_.ignored.push_back(name);
    if (!result_.ignored.empty())
      log::info("{} tensors of the checkpoint that this model does not have are ignored: {}", result_.ignored.size(),
                first_few(result_.ignored, ", "));
    return std::move(result_);
  }

 private:
  HfTensors::Found find_stored(const std::string& wanted) const {
    const std::string name = every_ ? layer_there(wanted) : wanted;
    auto found = tensors_.find(name);
    bool body = name.starts_with(allowed_.prefix);
    return found || !body ? found : tensors_.find(name.substr(allowed_.prefix.size()));
  }
  // "..layer.0.." -> "..layer.1.." for every second one.
  std::string layer_there(const std::string& name) const {
    constexpr std::string_view kLayer = ".layer.";
    const size_t at = name.find(kLayer);
    if (at == name.npos) return name;
    const size_t number = at + kLayer.size(), end = name.find('.', number);
    const int64_t layer = std::stoll(name.substr(number, end - number));
    return name.substr(0, number) + std::to_string((layer + 1) * every_ - 1) + name.substr(end);
  }
  // Whether a tensor of that shape has this one as its leading block.
  bool holds(const std::vector<int64_t>& there, const std::vector<int64_t>& wanted) const {
    if (!every_ || there.size() != wanted.size()) return there == wanted;
    for (size_t i = 0; i < there.size(); ++i)
      if (there[i] < wanted[i]) return false;
    return true;
  }
  bool borrows(const std::string& tensor) const { return tensor == allowed_.decoder && !find_stored(tensor); }
  HfTensors::Found find(const std::string& name) const {
    return find_stored(borrows(name) ? allowed_.decoder_fallback : name);
  }
  bool is_spare(const Parameter& p) const { return !allowed_.spare.empty() && p.name.starts_with(allowed_.spare); }
  // "itm_score" of "itm_score.fc.weight"; empty for the body.
  std::string head_of(const Parameter& p) const {
    return p.name.starts_with(allowed_.prefix) ? "" : p.name.substr(0, p.name.find('.'));
  }
  bool is_new(const Parameter& p) const {
    const auto& heads = result_.new_heads;
    if (is_spare(p)) return new_spare_;
    return !borrows(p.name) && std::find(heads.begin(), heads.end(), head_of(p)) != heads.end();
  }

  void check(const Parameter& p) {
    for (const HfTensor& t : hf_tensors(p, config_)) {
      auto found = find(t.name);
      if (found) used_.insert(found.entry->name), file_name_ = found.file->path().string();
      bool resized = !every_ && found && p.name == allowed_.positions &&
                     grid_of(found.entry->shape, allowed_.width, allowed_.special);
      if (found && (holds(found.entry->shape, t.shape) || resized)) continue;
      std::string why = found ? "found " + to_string(found.entry->shape) : "found no such tensor";
      if (std::string head = head_of(p); !head.empty() && !borrows(t.name))
        begin_anew(head, fmt::format("{}: expected {}, {}", t.name, to_string(t.shape), why));
      else if (!found && is_spare(p))
        begin_spare_anew(t.name);
      else
        wrong_.push_back(fmt::format("{}: expected {}{}, {}", t.name, to_string(t.shape), field_of(t.name), why));
    }
  }

  void begin_anew(const std::string& head, const std::string& why) {
    auto& heads = result_.new_heads;
    if (std::find(heads.begin(), heads.end(), head) != heads.end()) return;
    heads.push_back(head);
    notes_.push_back(fmt::format("{} is initialised anew ({})", head, why));
  }

  void begin_spare_anew(const std::string& tensor) {
    if (!std::exchange(new_spare_, true))
      notes_.push_back(tensor + " is initialised anew: the checkpoint has none, and no output depends on it");
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
      if (every_)
        keep_leading_block(at, found.entry->shape, t.shape);
      else if (found.entry->shape != t.shape)
        interpolate(found.entry->shape);
      if (borrows(t.name)) log::info("{} starts as the word embeddings: the checkpoint has none", t.name);
    }
    expect(int64_t(values_.size()) == p.range.size(), "the tensors of a parameter make up all of it");
    store(p);
  }

  // Of the tensor `shape` that begins at values_[at].
  void keep_leading_block(size_t at, const std::vector<int64_t>& shape, const std::vector<int64_t>& wanted) {
    size_t to = at;
    const auto numel = int64_t(values_.size() - at);
    for (int64_t i = 0; i < numel; ++i) {
      bool inside = true;
      for (int64_t rest = i, d = int64_t(shape.size()); d-- > 0; rest /= shape[size_t(d)])
        inside &= rest % shape[size_t(d)] < wanted[size_t(d)];
      if (inside) values_[to++] = values_[at + size_t(i)];
    }
    values_.resize(to);
  }

  void interpolate(const std::vector<int64_t>& shape) {
    int64_t from = grid_of(shape, allowed_.width, allowed_.special);
    values_ = interpolate_positions(values_, from, allowed_.grid, allowed_.width, allowed_.special);
    result_.interpolated_positions = true;
    log::info("position embeddings interpolated from {0} x {0} to {1} x {1} patches", from, allowed_.grid);
  }

  void reinitialize(Parameter& p) {
    store_.initialize(p, seed_);
    values_.resize(size_t(p.range.size()));
    HostCopy made(p.value, stream_, HostCopy::Fetch::yes);
    dispatch(p.value.dtype, [&]<class T>() { std::copy_n(data<T>(made.tensor()), values_.size(), values_.data()); });
    store(p);
  }

  // values_ to the store, rounded, and to what the masters hold of the parameter.
  void store(const Parameter& p) {
    HostCopy rounded(p.value, stream_, HostCopy::Fetch::no);
    dispatch(p.value.dtype, [&]<class T>() {
      T* out = data<T>(rounded.tensor());
      for (size_t i = 0; i < values_.size(); ++i) out[i] = T(values_[i]);
    });
    rounded.store();
    for (const ValuePart& part : masters_) {
      Range shared{std::max(p.range.begin, part.range.begin), std::min(p.range.end, part.range.end)};
      if (shared.empty()) continue;
      Tensor to = part.values.slice(shared.begin - part.range.begin, shared.end - part.range.begin);
      HostCopy exact(to, stream_, HostCopy::Fetch::no);
      std::copy_n(values_.data() + (shared.begin - p.range.begin), shared.size(), data<float>(exact.tensor()));
      exact.store();
    }
  }

  const HfTensors& tensors_;
  const ModelConfig& config_;
  const Tolerance allowed_;
  ParameterStore& store_;
  Stream stream_{store_.values().device};
  uint64_t seed_;
  const std::vector<ValuePart>& masters_;
  int64_t every_;
  std::vector<std::string> wrong_, notes_;
  std::set<std::string> used_;
  std::string file_name_ = "model.safetensors";
  bool new_spare_ = false;
  std::vector<float> values_;  // of one parameter at a time
  LoadedWeights result_;
};

}  // namespace

LoadedWeights load_weights(const HfTensors& tensors, const ModelConfig& config, ParameterStore& store, uint64_t seed,
                           const std::vector<ValuePart>& masters, int64_t every) {
  for (const ValuePart& part : masters)
    expect(part.values.shape == Shape({part.range.size()}), "a master holds one value per element of its range");
  return WeightImport(tensors, config, store, seed, masters, every).run();
}

}  // namespace viaduct
