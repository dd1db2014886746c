#include "train/learning_rate.hpp"

#include <algorithm>
#include <cmath>
#include <regex>

namespace viaduct {
namespace {

constexpr int64_t kAbove = -1;

int64_t level_of(const std::string& name) {
  static const std::regex layer(R"(\.(?:layer|resblocks)\.(\d{1,6})\.)");
  std::smatch found;
  if (std::regex_search(name, found, layer)) return std::stoll(found[1]) + 1;
  return name.find(".embeddings.") != name.npos || name.find(".ln_pre.") != name.npos ? 0 : kAbove;
}

}  // namespace

double scaled_learning_rate(const Config& config, int64_t ranks) {
  const std::string& rule = config.train.lr_scaling;
  return config.train.lr * (rule == "linear" ? double(ranks) : rule == "sqrt" ? std::sqrt(double(ranks)) : 1);
}

std::string learning_rate_words(const Config& config, double scaled) {
  std::string text = fmt::format("{:.4g}", scaled);
  if (config.train.lr_scaling != "none")
    text += fmt::format(", train.lr = {} times {:.4g} (train.lr_scaling = {})", config.train.lr,
                        config.train.lr > 0 ? scaled / config.train.lr : 1, config.train.lr_scaling);
  if (config.train.layer_decay < 1) text += fmt::format(", a layer's times {} below", config.train.layer_decay);
  return text;
}

std::function<double(const Parameter&)> layer_rates(const ParameterStore& store, double decay) {
  if (decay == 1) return {};
  int64_t top = 0;
  for (const Parameter& p : store.parameters()) top = std::max(top, level_of(p.name));
  return [decay, top](const Parameter& p) {
    const int64_t level = level_of(p.name);
    return level == kAbove ? 1 : std::pow(decay, double(top + 1 - level));
  };
}

}  // namespace viaduct
