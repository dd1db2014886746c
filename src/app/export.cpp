#include <filesystem>

#include "app/commands.hpp"
#include "core/base/log.hpp"
#include "models/hf_config.hpp"
#include "models/hf_export.hpp"
#include "train/checkpoint.hpp"
#include "train/engine.hpp"

namespace viaduct::app {
namespace {

// A checkpoint folder, or of a run folder the newest one that is whole.
Checkpoint find_checkpoint(const Path& source) {
  if (std::filesystem::exists(source / "manifest.json")) return open_checkpoint(source);
  if (std::filesystem::is_directory(source / "checkpoints"))
    if (auto latest = find_latest_checkpoint(source / "checkpoints")) return *latest;
  fail_input(fmt::format("{}: expected a run folder with checkpoints, or a checkpoint folder", source.string()));
}

// The model with the heads that the run trained.
std::unique_ptr<Task> untrained_task(const ModelConfig& model, const RunState& state) {
  Config config;
  set(config, "task.name", state.text("task.name"), "checkpoint");
  ModelSource source{.config = model, .choice = choose_task(config)};
  return task_maker(source, config, 1)();
}

Exit run(const Invocation& call) {
  if (call.subjects.size() != 2) fail_config("viaduct export needs two folders: viaduct export RUN DESTINATION");
  Path destination = call.subjects[1];
  if (std::filesystem::exists(destination))
    fail_config(fmt::format("{} exists; choose a new folder", destination.string()));
  Checkpoint checkpoint = find_checkpoint(call.subjects[0]);
  std::string where = (checkpoint.path / "state.json").string();
  const std::string& json = checkpoint.state.text("config.json");
  ModelConfig config = parse_model_config(json, where);
  auto task = untrained_task(config, checkpoint.state);
  ParameterStore& store = task->parameters();
  store.materialize(Device::cpu(), DType::f32, false);
  Tensor values = store.values(store.range()), frozen = store.frozen_values();
  load_checkpoint(checkpoint.path, store, {.range = store.range(), .master = values, .frozen = frozen});
  std::vector<ValuePart> parts{{store.range(), values}};
  if (frozen) parts.push_back({store.frozen_range(), frozen});
  export_model(
      destination, config, parse_architecture(json, where), store,
      [&](const Parameter& p) { return values_of(parts, p); }, checkpoint.state.texts(kModelFile));
  log::info("step {} of {}: model in {}", checkpoint.step, call.subjects[0], destination.string());
  return Exit::ok;
}

}  // namespace

const Command export_command = {
    "export",
    "RUN DESTINATION",
    "a Hugging Face model folder from a run or a checkpoint",
    "RUN is a run folder (its newest whole checkpoint is taken) or one checkpoint folder. DESTINATION must not exist; "
    "it gets\n"
    "config.json, model.safetensors, preprocessor_config.json and of an image-text model the tokenizer's files, as "
    "transformers\n"
    "loads them.",
    {},
    2,
    true,
    run};

}  // namespace viaduct::app
