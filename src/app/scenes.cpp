#include "data/scenes.hpp"
#include "app/commands.hpp"
#include "core/base/log.hpp"

namespace viaduct::app {
namespace {

Exit run(const Invocation& call) {
  if (call.subjects.empty()) fail_config("viaduct scenes needs the folder to write: viaduct scenes FOLDER");
  const ScenesSection& scenes = call.config.scenes;
  SceneOptions options;
  options.count = scenes.count, options.size = int(scenes.size), options.seed = uint64_t(scenes.seed);
  generate_scenes(call.subjects[0], options);
  log::info("{} pictures in {}: train/ and eval/ with a folder per class, captions.jsonl", scenes.count,
            call.subjects[0]);
  return Exit::ok;
}

}  // namespace

const Command scenes_command = {
    "scenes",
    "FOLDER",
    "draw captioned pictures of coloured shapes, to try things out",
    "Writes JPEG files into FOLDER/train/<class>/ and FOLDER/eval/<class>/, and their captions into captions.jsonl.\n"
    "The same options draw the same pictures. FOLDER must be new or empty.",
    {"scenes"},
    1,
    true,
    run};

}  // namespace viaduct::app
