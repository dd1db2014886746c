#include "train/distillation_choice.hpp"

#include <cstdio>

#include "core/base/check.hpp"
#include "core/base/range.hpp"
#include "train/weighted_list.hpp"

namespace viaduct {
namespace {

struct Named {
  const char* name;
  double DistillationChoice::*weight;
};
constexpr Named kLosses[] = {{"label", &DistillationChoice::label},
                             {"soft", &DistillationChoice::soft},
                             {"deit_soft", &DistillationChoice::deit_soft},
                             {"deit_hard", &DistillationChoice::deit_hard},
                             {"mse", &DistillationChoice::mse},
                             {"feature", &DistillationChoice::feature}};

}  // namespace

std::string DistillationChoice::text() const {
  std::string sum;
  for (const Named& n : kLosses)
    if (this->*n.weight > 0) sum += fmt::format("{}{}:{}", sum.empty() ? "" : ", ", n.name, this->*n.weight);
  return soft > 0 || deit_soft > 0 ? fmt::format("{}, temperature {}", sum, temperature) : sum;
}

DistillationChoice choose_distillation(const Config& config) {
  DistillationChoice choice{.temperature = config.task.temperature};
  std::vector<std::string> names;
  for (const Named& n : kLosses) names.push_back(n.name);
  const std::string expected =
      fmt::format("expected a weighted sum of {}, such as label:0.5, soft:0.5", fmt::join(names, ", "));
  for (const auto& [name, weight] : weighted_list(config, "task.losses", config.task.losses, names, expected))
    for (const Named& n : kLosses)
      if (name == n.name) choice.*n.weight = weight;
  if (choice.soft + choice.deit_soft + choice.deit_hard + choice.mse + choice.feature == 0)
    refuse_value(config, "task.losses", config.task.losses,
                 "no loss looks at the teacher; for labels alone use task.name = classification");
  if (choice.feature == 0 && config.origins.contains("task.layers"))
    refuse_value(config, "task.layers", config.task.layers, "needs feature in task.losses");
  if (choice.feature > 0 && !config.task.cache.empty())
    refuse_value(config, "task.cache", config.task.cache,
                 "it keeps logits; feature in task.losses needs the teacher itself");
  for (const char* key : {"task.cache_top_k", "task.cache_precision"})
    if (config.task.cache.empty() && config.origins.contains(key))
      refuse_value(config, key, value_text(config, key), "needs task.cache");
  return choice;
}

std::vector<LayerPair> layer_pairs(const Config& config, int64_t student, int64_t teacher) {
  const std::string& text = config.task.layers;
  std::vector<LayerPair> pairs;
  if (text == "auto") {
    for (int64_t l = 1; l <= student; ++l) pairs.push_back({l, ceil_div(l * teacher, student)});
    return pairs;
  }
  for (const std::string& item : split_list(text)) {
    LayerPair pair{};
    char rest = 0;
    const bool read = std::sscanf(item.c_str(), "%ld:%ld%c", &pair.student, &pair.teacher, &rest) == 2;
    if (!read || pair.student < 1 || pair.student > student || pair.teacher < 1 || pair.teacher > teacher)
      refuse_value(
          config, "task.layers", text,
          fmt::format("expected a list of pairs such as 1:{}, layers of the student (1 to {}) and of the teacher "
                      "(1 to {}), found '{}'",
                      teacher, student, teacher, item));
    for (const LayerPair& other : pairs)
      if (other.student == pair.student && other.teacher == pair.teacher)
        refuse_value(config, "task.layers", text, fmt::format("{} is named twice", item));
    pairs.push_back(pair);
  }
  return pairs;
}

}  // namespace viaduct
