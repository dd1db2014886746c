#include "train/task_choice.hpp"

#include <charconv>
#include <cmath>

#include "core/base/check.hpp"
#include "train/nearest.hpp"

namespace viaduct {
namespace {

constexpr const char* kExpected =
    "expected classification, itm, itc or mlm, or a sum of the last three such as itm:1, mlm:1, itc:0.5";

[[noreturn]] void refuse(const Config& config, const std::string& key, const std::string& value,
                         const std::string& why) {
  fail_config(fmt::format("{} = '{}' ({}): {}", key, value, config.origin(key), why));
}

std::string trim(const std::string& text) {
  size_t first = text.find_first_not_of(' '), last = text.find_last_not_of(' ');
  return first == text.npos ? "" : text.substr(first, last - first + 1);
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

double weight_of(const Config& config, const std::string& item, size_t colon) {
  if (colon == item.npos) return 1;
  double weight = 0;
  const std::string number = trim(item.substr(colon + 1));
  auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), weight);
  if (error != std::errc() || end != number.data() + number.size() || !(weight > 0) || !std::isfinite(weight))
    refuse(config, "task.name", config.task.name,
           fmt::format("expected a weight above 0 after the colon of '{}'", item));
  return weight;
}

}  // namespace

std::string TaskChoice::text() const {
  if (classifies()) return "classification";
  std::string first_one, others;
  for (auto [name, weight] : {std::pair{"itm", itm}, {"itc", itc}, {"mlm", mlm}})
    if (weight > 0)
      (name == first ? first_one : others) += fmt::format("{}{}:{}", name == first ? "" : ", ", name, weight);
  return first_one + others;
}

std::string FrozenTowers::names() const {
  std::string list;
  for (auto [name, frozen] : {std::pair{"text", text}, {"vision", vision}, {"cross", cross}})
    if (frozen) list += (list.empty() ? "" : ", ") + std::string(name);
  return list;
}

TaskChoice choose_task(const Config& config) {
  const std::string& name = config.task.name;
  TaskChoice choice;
  if (name == "distillation") refuse(config, "task.name", name, "distillation is not in this version");
  if (name != "classification") {
    for (const std::string& item : split_list(name)) {
      size_t colon = item.find(':');
      std::string loss = trim(item.substr(0, colon));
      double* weight = loss == "itm"   ? &choice.itm
                       : loss == "itc" ? &choice.itc
                       : loss == "mlm" ? &choice.mlm
                                       : nullptr;
      if (!weight) {
        std::string meant = nearest(loss, {"classification", "itm", "itc", "mlm"}, 4);
        refuse(config, "task.name", name, kExpected + (meant.empty() ? "" : "; did you mean " + meant + "?"));
      }
      if (*weight > 0) refuse(config, "task.name", name, fmt::format("{} is named twice", loss));
      *weight = weight_of(config, item, colon);
      if (choice.first.empty()) choice.first = loss;
    }
  }
  if (config.task.itm_negatives == "hard" && (choice.itm == 0 || choice.itc == 0))
    refuse(config, "task.itm_negatives", "hard", "needs itm and itc in task.name: itc says which texts are similar");
  if (config.task.negatives == "global" && choice.itc == 0)
    refuse(config, "task.negatives", "global", "needs itc in task.name");
  const bool has_accuracy = choice.classifies() || choice.itm > 0 || (choice.mlm > 0 && choice.losses() == 1);
  for (const auto& [key, metric] : {std::pair{"run.best", config.run.best}, {"stop.monitor", config.stop.monitor}}) {
    if (metric == "eval_accuracy" && !has_accuracy)
      refuse(config, key, metric, fmt::format("task.name = {} has no accuracy; use eval_loss", name));
    if (metric.find("recall") != metric.npos && choice.itc == 0)
      refuse(config, key, metric, "recall is measured with itc in task.name");
  }
  for (const auto& [key, value] : {std::pair{"augment.mixup", config.augment.mixup},
                                   {"augment.cutmix", config.augment.cutmix},
                                   {"augment.label_smoothing", config.augment.label_smoothing}})
    if (value > 0 && !choice.classifies())
      refuse(config, key, fmt::format("{}", value), "is for task.name = classification, where an image has a label");
  const bool invariant = config.parallel.reduction == "invariant";
  if (invariant && config.task.negatives == "global")
    refuse(
        config, "task.negatives", "global",
        "its loss is no sum over passes, so parallel.reduction = invariant cannot give the same bits for any number of "
        "ranks; use task.negatives = local");
  if (choice.itc > 0 && choice.losses() == 1 && config.task.negatives == "local" && invariant &&
      config.parallel.micro_batch == 1)
    refuse(config, "parallel.micro_batch", "1", "itc needs other pairs of the same pass to tell apart: a larger one");
  if (choice.itc > 0 && choice.losses() == 1 && config.train.batch_size == 1 && config.task.negatives == "local" &&
      !invariant)
    refuse(config, "train.batch_size", "1",
           "itc needs other pairs to tell apart: a larger batch, or task.negatives = global with several ranks");
  if (choice.classifies() && !config.task.freeze.empty())
    refuse(config, "task.freeze", config.task.freeze, "only the towers of an image-text model can be frozen");
  return choice;
}

FrozenTowers frozen_towers(const Config& config) {
  FrozenTowers frozen;
  if (config.task.freeze.empty()) return frozen;
  for (const std::string& tower : split_list(config.task.freeze)) {
    bool* flag = tower == "text"     ? &frozen.text
                 : tower == "vision" ? &frozen.vision
                 : tower == "cross"  ? &frozen.cross
                                     : nullptr;
    if (!flag)
      refuse(config, "task.freeze", config.task.freeze,
             fmt::format("expected a list of text, vision and cross, found '{}'", tower));
    *flag = true;
  }
  return frozen;
}

}  // namespace viaduct
