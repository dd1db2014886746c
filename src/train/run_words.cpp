#include "train/run_words.hpp"

#include <algorithm>

#include "core/base/log.hpp"
#include "train/device_choice.hpp"
#include "train/learning_rate.hpp"

namespace viaduct {
namespace {

// Of the parameters, ", 12.3 M of them frozen".
std::string frozen_words(const RunWords& run) {
  int64_t frozen = run.engine.task().parameters().frozen_count();
  return run.config.task.freeze.empty() ? "" : fmt::format(", {:.1f} M of them frozen", double(frozen) / 1e6);
}

void say_texts(const RunWords& run) {
  const ModelSource& source = run.engine.source();
  const int64_t most = source.max_text_length(run.config);
  auto full = std::count_if(run.texts->begin(), run.texts->end(), [&](TextSize s) { return s.tokens == most; });
  log::info("texts: up to {} tokens with <s> and </s>, padded to {}{}", source.text_tokens,
            run.config.data.padding == "longest" ? "the longest of a step" : "that",
            full ? fmt::format("; {} of {} fill {} tokens and may be cut", full, run.texts->size(), most) : "");
}

}  // namespace

void say_plan(const RunWords& run) {
  const Config& config = run.config;
  Engine& engine = run.engine;
  const ModelSource& source = engine.source();
  const BatchPlan& batches = run.batches;
  if (source.tokenizer) log::info("task: {} ({})", source.choice.text(), config.origin("task.name"));
  log::info("model: {}, {:.1f} M parameters{}, {}", describe(source.config), double(engine.parameter_count()) / 1e6,
            frozen_words(run), config.train.precision);
  log::info(
      "data: {} {} to train on{}", run.data.train->size(), run.data.train->has_text() ? "images with texts" : "images",
      run.data.eval ? fmt::format(", {} {}held out", run.data.eval->size(), source.tokenizer ? "texts " : "") : "");
  if (source.tokenizer) say_texts(run);
  log::info("device: {}", describe(engine.device()));
  log::info("memory: {}", plan_text(engine.plan()));
  log::info("steps: {} of {} samples ({} ranks x {} x {}), {} an epoch", run.total_steps, batches.global_batch(),
            batches.ranks, batches.batch_size, batches.accumulate, batches.steps_per_epoch());
  log::info("learning rate: {}", learning_rate_words(config, run.learning_rate));
  if (run.comm.size() > 1) log::info("gradients: {} over {}", config.parallel.strategy, run.comm.name(engine.device()));
}

}  // namespace viaduct
