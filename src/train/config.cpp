#include "train/config.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <set>

#include "core/base/check.hpp"
#include "train/nearest.hpp"

namespace viaduct {
namespace {

// What the Hugging Face Trainer calls the same thing.
const std::map<std::string, std::string> kForeignNames = {
    {"learning_rate", "train.lr"},
    {"max_grad_norm", "train.clip_norm"},
    {"grad_clip", "train.clip_norm"},
    {"num_train_epochs", "train.epochs"},
    {"max_steps", "train.steps"},
    {"max_time", "train.max_seconds"},
    {"early_stopping_patience", "stop.patience"},
    {"early_stopping_threshold", "stop.min_delta"},
    {"label_smoothing_factor", "augment.label_smoothing"},
    {"smoothing", "augment.label_smoothing"},
    {"mixup_alpha", "augment.mixup"},
    {"cutmix_alpha", "augment.cutmix"},
    {"reprob", "augment.random_erasing"},
    {"ema_decay", "average.decay"},
    {"model_ema_decay", "average.decay"},
    {"llrd", "train.layer_decay"},
    {"save_top_k", "run.keep_best"},
    {"metric_for_best_model", "run.best"},
    {"num_steps", "train.steps"},
    {"per_device_train_batch_size", "train.batch_size"},
    {"per_device_eval_batch_size", "train.batch_size"},
    {"gradient_accumulation_steps", "train.accumulate"},
    {"gradient_checkpointing", "train.recompute"},
    {"warmup_steps", "train.warmup"},
    {"warmup_ratio", "train.warmup"},
    {"lr_scheduler_type", "train.schedule"},
    {"eval_steps", "train.eval_every"},
    {"bf16", "train.precision"},
    {"logging_steps", "run.log_every"},
    {"save_steps", "run.checkpoint_every"},
    {"save_total_limit", "run.keep_last"},
    {"output_dir", "run.output"},
    {"resume_from_checkpoint", "run.resume"},
    {"dataloader_num_workers", "data.workers"},
    {"num_workers", "data.workers"},
    {"ddp_bucket_cap_mb", "parallel.bucket_mb"},
    {"model_name_or_path", "model.pretrained"},
    {"max_seq_length", "data.max_text_length"},
    {"tokenizer_name", "data.tokenizer"},
};

template <class Number>
bool parse_number(const std::string& text, Number& value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

std::string join(const std::vector<std::string>& words) { return fmt::format("{}", fmt::join(words, ", ")); }
bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::string bounds(const Rule& rule) {
  if (std::isinf(rule.low)) return "";
  if (std::isinf(rule.high)) return fmt::format(" {} {}", rule.open_low ? "above" : "of at least", rule.low);
  return fmt::format(" {} {} {} {}{}", rule.open_low ? "above" : "from", rule.low, rule.open_low ? "and" : "to",
                     rule.with_high ? rule.open_low ? "at most " : "" : "below ", rule.high);
}
bool within(double value, const Rule& rule) {
  return std::isfinite(value) && (rule.open_low ? value > rule.low : value >= rule.low) &&
         (std::isinf(rule.high) || value < rule.high || (rule.with_high && value == rule.high));
}

// Each assign returns what is wrong when the text is no such value, and nothing when it is.
using Wrong = std::optional<std::string>;

Wrong assign(std::string& field, const std::string& text, const Rule& rule) {
  if (!rule.choices.empty() && !contains(rule.choices, text)) {
    return (rule.choices.size() > 1 ? "expected one of " : "expected ") + join(rule.choices);
  }
  field = text;
  return {};
}
Wrong assign(bool& field, const std::string& text, const Rule&) {
  const bool yes = text == "true" || text == "on";
  if (!yes && text != "false" && text != "off") return "expected true or false (or on, off)";
  field = yes;
  return {};
}
Wrong assign(double& field, const std::string& text, const Rule& rule) {
  double value = 0;
  if (!parse_number(text, value) || !within(value, rule)) return "expected a number" + bounds(rule);
  field = value;
  return {};
}
Wrong assign(std::optional<double>& field, const std::string& text, const Rule& rule) {
  if (text == "none") return field.reset(), Wrong{};
  double value = 0;
  if (Wrong wrong = assign(value, text, rule)) return *wrong + " or none";
  field = value;
  return {};
}
Wrong assign(int64_t& field, const std::string& text, const Rule& rule) {
  std::string expected = "expected a whole number" + bounds(rule);
  for (const auto& [word, number] : rule.words) {
    if (text == word) return field = number, Wrong{};
    expected += " or " + word;
  }
  int64_t value = 0;
  if (!parse_number(text, value) || !within(double(value), rule)) return expected;
  field = value;
  return {};
}

[[noreturn]] void fail_value(const std::string& key, const std::string& value, const std::string& origin,
                             const std::string& why) {
  fail_config(fmt::format("{} = '{}' ({}): {}", key, value, origin, why));
}

// Calls v(name, field) for the fields of config.json of every architecture.
template <class V>
void model_fields(V&& v) {
  VitConfig().fields(v);
  BridgeTowerConfig().fields(v);
}

// A field of config.json; false when no architecture has one of that name.
bool set_override(Config& config, const std::string& key, const std::string& value, const std::string& origin) {
  bool found = false;
  model_fields([&](const std::string& name, auto& field) {
    if (key != "model." + name) return;
    found = true;
    if (Wrong wrong = assign(field, value, Rule())) fail_value(key, value, origin, *wrong);
    config.model.overrides[name] = value;
  });
  return found;
}

[[noreturn]] void fail_unknown(const std::string& key, const std::string& origin) {
  std::string name = key.substr(key.rfind('.') + 1);
  int limit = std::max(int(name.size()) / 2, 2);
  std::vector<std::string> foreign;
  for (const auto& [theirs, ours] : kForeignNames) foreign.push_back(theirs);
  auto known = kForeignNames.find(nearest(name, foreign, limit / 2));
  std::string meant = known != kForeignNames.end() ? known->second : nearest(key, config_keys(), limit);
  if (meant.empty()) fail_config(fmt::format("unknown key {} ({}); viaduct train --help lists the keys", key, origin));
  fail_config(fmt::format("unknown key {} ({}); did you mean {}?", key, origin, meant));
}

std::string trim(const std::string& text) {
  auto begin = text.find_first_not_of(" \t\r"), end = text.find_last_not_of(" \t\r");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

}  // namespace

void set(Config& config, const std::string& key, const std::string& given, const std::string& origin) {
  std::string value = trim(given);
  if (value.find_first_of("#\n") != std::string::npos)
    fail_config(fmt::format("{} = '{}' ({}): a value may hold neither # nor a line break", key, value, origin));
  bool found = false;
  config.sections([&](const std::string& section, auto& fields) {
    fields.fields([&](const std::string& name, auto& field, const Rule& rule, const char*) {
      if (found || key != section + "." + name) return;
      found = true;
      if (Wrong wrong = assign(field, value, rule)) fail_value(key, value, origin, *wrong);
    });
  });
  if (!found && key.starts_with("model.")) found = set_override(config, key, value, origin);
  if (!found) fail_unknown(key, origin);
  config.origins[key] = origin;
}

void apply_overrides(const Config& config, ModelConfig& model) {
  auto unknown = config.model.overrides;
  auto apply = [&](const std::string& name, auto& field) {
    auto given = unknown.find(name);
    if (given == unknown.end()) return;
    assign(field, given->second, Rule());
    unknown.erase(given);
  };
  std::visit([&](auto& c) { c.fields(apply); }, model);
  if (unknown.empty()) return;
  const auto& [name, value] = *unknown.begin();
  std::string key = "model." + name, meant;
  auto find_tower = [&, end = "." + name](const std::string& field, auto&) {
    if (meant.empty() && field.ends_with(end)) meant = "; did you mean model." + field + "?";
  };
  std::visit([&](auto& c) { c.fields(find_tower); }, model);
  fail_config(fmt::format("{} = '{}' ({}): a {} has no such field{}", key, value, config.origin(key),
                          is_bridgetower(model) ? "bridgetower" : "vit",
                          !meant.empty()          ? meant
                          : is_bridgetower(model) ? "; vit has"
                                                  : "; bridgetower has"));
}

std::string Config::origin(const std::string& key) const {
  auto it = origins.find(key);
  return it == origins.end() ? "default" : it->second;
}

std::optional<double> Config::eval_fraction() const {
  double value = 0;
  if (!parse_number(data.eval, value)) return {};
  return value;
}

void validate(const Config& config) {
  auto refuse = [&](const char* key, const auto& value, const std::string& why) {
    fail_config(fmt::format("{} = '{}' ({}): {}", key, value, config.origin(key), why));
  };
  const TrainSection& train = config.train;
  if (auto fraction = config.eval_fraction(); fraction && !(*fraction > 0 && *fraction < 1))
    refuse("data.eval", config.data.eval, "expected a fraction above 0 and below 1, or a folder");
  if (train.warmup >= 1 && train.warmup != std::floor(train.warmup))
    refuse("train.warmup", train.warmup, "expected whole steps, or a fraction of all steps below 1");
  if (train.steps > 0 && train.warmup > double(train.steps))
    refuse("train.warmup", train.warmup, fmt::format("is more than train.steps = {}", train.steps));
  for (auto [key, metric] : {std::pair{"run.best", config.run.best}, {"stop.monitor", config.stop.monitor}})
    if (metric != "none" && (config.data.eval.empty() || train.eval_every < 0))
      refuse(key, metric, "needs data.eval and train.eval_every");
  const ParallelSection& parallel = config.parallel;
  if (parallel.reduction == "invariant") {
    if (parallel.wire != "fp32")
      refuse("parallel.wire", parallel.wire, "parallel.reduction = invariant travels as int64");
    if (train.batch_size == 0)
      refuse(
          "train.batch_size", "auto",
          "the passes of parallel.reduction = invariant are parallel.micro_batch samples: the batch takes no memory; "
          "give a number");
    if (train.batch_size * train.accumulate % parallel.micro_batch)
      refuse(
          "parallel.micro_batch", parallel.micro_batch,
          fmt::format("does not divide the {} samples of a rank's step (train.batch_size = {} times train.accumulate = "
                      "{}), which parallel.reduction = invariant cuts into passes of that size",
                      train.batch_size * train.accumulate, train.batch_size, train.accumulate));
  }
  if (config.run.resume.empty()) refuse("run.resume", "", "expected none, auto or a checkpoint folder");
}

std::vector<std::string> config_keys() {
  std::vector<std::string> keys;
  Config config;
  config.sections([&](const std::string& section, auto& fields) {
    fields.fields(
        [&](const std::string& name, auto&, const Rule&, const char*) { keys.push_back(section + "." + name); });
  });
  std::set<std::string> fields;
  model_fields([&](const char* field, auto&) { fields.insert(std::string("model.") + field); });
  keys.insert(keys.end(), fields.begin(), fields.end());
  return keys;
}

}  // namespace viaduct
