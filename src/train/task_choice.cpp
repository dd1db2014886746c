#include "train/task_choice.hpp"

#include "core/base/check.hpp"
#include "train/weighted_list.hpp"

namespace viaduct {
namespace {

constexpr const char* kExpected =
    "expected classification, distillation, itm, itc or mlm, or a sum of the last three such as itm:1, mlm:1, itc:0.5";

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
  choice.distils = name == "distillation";
  if (!choice.distils && name != "classification")
    for (const auto& [loss, weight] : weighted_list(config, "task.name", name, {"itm", "itc", "mlm"}, kExpected,
                                                    {"classification", "distillation"})) {
      (loss == "itm" ? choice.itm : loss == "itc" ? choice.itc : choice.mlm) = weight;
      if (choice.first.empty()) choice.first = loss;
    }
  for (const char* key :
       {"task.teacher", "task.losses", "task.temperature", "task.layers", "task.distillation_token", "task.every_layer",
        "task.first_heads", "task.cache", "task.cache_top_k", "task.cache_precision"})
    if (!choice.distils && value_text(config, key) != value_text(Config{}, key))
      refuse_value(config, key, value_text(config, key), "needs task.name = distillation");
  if (config.task.itm_negatives == "hard" && (choice.itm == 0 || choice.itc == 0))
    refuse_value(config, "task.itm_negatives", "hard",
                 "needs itm and itc in task.name: itc says which texts are similar");
  if (config.task.negatives == "global" && choice.itc == 0)
    refuse_value(config, "task.negatives", "global", "needs itc in task.name");
  const bool has_accuracy = choice.classifies() || choice.itm > 0 || (choice.mlm > 0 && choice.losses() == 1);
  for (const auto& [key, metric] : {std::pair{"run.best", config.run.best}, {"stop.monitor", config.stop.monitor}}) {
    if (metric == "eval_accuracy" && !has_accuracy)
      refuse_value(config, key, metric, fmt::format("task.name = {} has no accuracy; use eval_loss", name));
    if (metric.find("recall") != metric.npos && choice.itc == 0)
      refuse_value(config, key, metric, "recall is measured with itc in task.name");
  }
  for (const auto& [key, value] : {std::pair{"augment.mixup", config.augment.mixup},
                                   {"augment.cutmix", config.augment.cutmix},
                                   {"augment.label_smoothing", config.augment.label_smoothing}})
    if (value > 0 && (choice.distils || !choice.classifies()))
      refuse_value(config, key, fmt::format("{}", value),
                   "is for task.name = classification, where a label is all that an image is learnt by");
  const bool invariant = config.parallel.reduction == "invariant";
  if (invariant && config.task.negatives == "global")
    refuse_value(
        config, "task.negatives", "global",
        "its loss is no sum over passes, so parallel.reduction = invariant cannot give the same bits for any number of "
        "ranks; use task.negatives = local");
  if (choice.itc > 0 && choice.losses() == 1 && config.task.negatives == "local" && invariant &&
      config.parallel.micro_batch == 1)
    refuse_value(config, "parallel.micro_batch", "1",
                 "itc needs other pairs of the same pass to tell apart: a larger one");
  if (choice.itc > 0 && choice.losses() == 1 && config.train.batch_size == 1 && config.task.negatives == "local" &&
      !invariant)
    refuse_value(config, "train.batch_size", "1",
                 "itc needs other pairs to tell apart: a larger batch, or task.negatives = global with several ranks");
  if (choice.classifies() && !config.task.freeze.empty())
    refuse_value(config, "task.freeze", config.task.freeze, "only the towers of an image-text model can be frozen");
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
      refuse_value(config, "task.freeze", config.task.freeze,
                   fmt::format("expected a list of text, vision and cross, found '{}'", tower));
    *flag = true;
  }
  return frozen;
}

}  // namespace viaduct
