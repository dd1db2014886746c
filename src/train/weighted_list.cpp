#include "train/weighted_list.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/base/check.hpp"
#include "train/nearest.hpp"

namespace viaduct {
namespace {

std::string trim(const std::string& text) {
  size_t first = text.find_first_not_of(' '), last = text.find_last_not_of(' ');
  return first == text.npos ? "" : text.substr(first, last - first + 1);
}

// Of the text after a colon; 0: it is none.
double weight_of(const std::string& number) {
  double weight = 0;
  auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), weight);
  const bool whole = error == std::errc() && end == number.data() + number.size();
  return whole && std::isfinite(weight) ? weight : 0;
}

}  // namespace

void refuse_value(const Config& config, const std::string& key, const std::string& value, const std::string& why) {
  fail_config(fmt::format("{} = '{}' ({}): {}", key, value, config.origin(key), why));
}

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> items;
  for (size_t at = 0; at <= text.size();) {
    size_t end = std::min(text.find(',', at), text.size());
    items.push_back(trim(text.substr(at, end - at)));
    at = end + 1;
  }
  return items;
}

std::vector<std::pair<std::string, double>> weighted_list(const Config& config, const std::string& key,
                                                          const std::string& value,
                                                          const std::vector<std::string>& names,
                                                          const std::string& expected,
                                                          const std::vector<std::string>& also) {
  std::vector<std::pair<std::string, double>> terms;
  for (const std::string& item : split_list(value)) {
    const size_t colon = item.find(':');
    const std::string name = trim(item.substr(0, colon));
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      std::vector<std::string> known = also;
      known.insert(known.end(), names.begin(), names.end());
      const std::string meant = nearest(name, known, 4);
      refuse_value(config, key, value, expected + (meant.empty() ? "" : "; did you mean " + meant + "?"));
    }
    for (const auto& [other, weight] : terms)
      if (other == name) refuse_value(config, key, value, fmt::format("{} is named twice", name));
    const double weight = colon == item.npos ? 1 : weight_of(trim(item.substr(colon + 1)));
    if (!(weight > 0))
      refuse_value(config, key, value, fmt::format("expected a weight above 0 after the colon of '{}'", item));
    terms.emplace_back(name, weight);
  }
  return terms;
}

}  // namespace viaduct
