#include <filesystem>

#include "app/commands.hpp"
#include "core/base/log.hpp"
#include "models/hf_config.hpp"
#include "models/hf_export.hpp"
#include "models/vit_classifier.hpp"
#include "train/checkpoint.hpp"
#include "train/image_processor.hpp"

namespace viaduct::app {
namespace {

// A checkpoint folder, or of a run folder the newest one that is whole.
Checkpoint find_checkpoint(const Path& source) {
  if (std::filesystem::exists(source / "manifest.json")) return open_checkpoint(source);
  if (std::filesystem::is_directory(source / "checkpoints"))
    if (auto latest = find_latest_checkpoint(source / "checkpoints")) return *latest;
  fail_input(fmt::format("{}: expected a run folder with checkpoints, or a checkpoint folder", source.string()));
}

Exit run(const Invocation& call) {
  if (call.subjects.size() != 2) fail_config("viaduct export needs two folders: viaduct export RUN DESTINATION");
  Path destination = call.subjects[1];
  if (std::filesystem::exists(destination))
    fail_config(fmt::format("{} exists; choose a new folder", destination.string()));
  Checkpoint checkpoint = find_checkpoint(call.subjects[0]);
  std::string where = (checkpoint.path / "state.json").string();
  const std::string& json = checkpoint.state.text("config.json");
  VitConfig config = vit(parse_model_config(json, where));
  ImageProcessor processor =
      parse_image_processor(checkpoint.state.text("preprocessor_config.json"), where,
                            ImageProcessor::vit(int(config.image_size)));

  VitClassifier model(config, {}, false);
  ParameterStore& store = model.parameters();
  store.materialize(Device::cpu(), DType::f32, false);
  Tensor values = store.values(store.range());
  load_checkpoint(checkpoint.path, store, {.range = store.range(), .master = values});
  export_model(destination, config, parse_architecture(json, where), store, {{store.range(), values}},
               {{"preprocessor_config.json", image_processor_json(processor)}});
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
    "config.json, model.safetensors and preprocessor_config.json, which AutoModelForImageClassification loads.",
    {},
    2,
    true,
    run};

}  // namespace viaduct::app
