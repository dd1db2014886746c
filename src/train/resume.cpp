#include "train/resume.hpp"

#include <functional>
#include <nlohmann/json.hpp>

#include "core/base/check.hpp"
#include "core/base/json.hpp"

namespace viaduct {
namespace {

// The first difference between two JSON objects, as "name: saved, mine"; empty: none.
std::string difference(const std::string& saved, const std::string& mine, const std::string& name,
                       const std::string& where) {
  auto a = parse_json_object(saved, where), b = parse_json_object(mine, name);
  auto steps = nlohmann::json::diff(a, b);
  if (steps.empty()) return {};
  nlohmann::json::json_pointer at(steps[0].at("path").get<std::string>());
  auto text = [&](const nlohmann::json& json) { return json.contains(at) ? json.at(at).dump() : "nothing"; };
  return fmt::format("{}{} = {} and would go on with {}", name, at.to_string(), text(a), text(b));
}

// config.json and the processor's settings by value, the tokenizer's files by their text.
void compare_files(const RunState& saved, const RunState& mine, const std::string& where,
                   const std::function<void(const std::string&)>& refuse) {
  auto before = saved.texts(kModelFile), now = mine.texts(kModelFile);
  before["config.json"] = saved.text("config.json"), now["config.json"] = mine.text("config.json");
  for (const auto& [name, text] : now) {
    if (!before.contains(name)) refuse("no " + name);
    const bool settings = name == "config.json" || name == "preprocessor_config.json";
    if (!settings && before[name] != text) refuse(fmt::format("another tokenizer: {} differs", name));
    if (settings)
      if (auto what = difference(before[name], text, name, where); !what.empty()) refuse(what);
  }
  for (const auto& [name, text] : before)
    if (!now.contains(name)) refuse(fmt::format("another tokenizer: {}", name));
}

}  // namespace

std::string describe_data(const Dataset& data) {
  Hasher hasher;
  auto add = [&](const std::string& text) { hasher.add(text.c_str(), int64_t(text.size()) + 1); };
  for (const std::string& name : data.classes()) add(name);
  for (int64_t i = 0; i < data.size(); ++i) {
    int32_t label = data.has_labels() ? data.label(i) : -1;
    add(data.id(i)), hasher.add(&label, sizeof label);
    for (const std::string& text : data.texts(i)) add(text);
  }
  return fmt::format("{} images of {} classes, xxh3 {}", data.size(), data.classes().size(), hasher.hex());
}

void agree_on_data(const TrainEval& data, Communicator& comm) {
  std::string mine = "training: " + describe_data(*data.train);
  if (data.eval) mine += "; held out: " + describe_data(*data.eval);
  auto all = comm.all_gather_text(mine);
  for (size_t rank = 1; rank < all.size(); ++rank)
    if (all[rank] != all[0])
      fail_input(
          fmt::format("rank {} sees other data than rank 0: expected {}; found {}; every host needs the same "
                      "files under data.train and data.eval",
                      rank, all[0], all[rank]));
}

void check_resumable(const Checkpoint& checkpoint, const RunState& mine) {
  const RunState& saved = checkpoint.state;
  auto refuse = [&](const std::string& what) {
    fail_config(
        fmt::format("{}: the run was saved with {}; resume with what it began with, or start a new run from its "
                    "model/ folder",
                    checkpoint.path.string(), what));
  };
  for (const char* name : {"global_batch", "total_steps", "seed", "shuffle"})
    if (saved.integer(name) != mine.integer(name))
      refuse(fmt::format("{} = {} and would go on with {}", name, saved.integer(name), mine.integer(name)));
  if (saved.text("data") != mine.text("data"))
    refuse(fmt::format("data = {} and would go on with {}", saved.text("data"), mine.text("data")));
  auto compare = [&](const char* name) {
    if (saved.has(name) != mine.has(name) || (saved.has(name) && saved.text(name) != mine.text(name)))
      refuse(fmt::format("{} = {} and would go on with {}", name, saved.has(name) ? saved.text(name) : "nothing",
                         mine.has(name) ? mine.text(name) : "nothing"));
  };
  for (const char* name : {"task.name", "task.negatives", "task.itm_negatives", "task.freeze", "distillation",
                           "data.image_pipeline", "data.padding", "average.decay"})
    compare(name);
  if (mine.has("max_text_length") && saved.integer("max_text_length") != mine.integer("max_text_length"))
    refuse(fmt::format("texts of up to {} tokens and would go on with {}", saved.integer("max_text_length"),
                       mine.integer("max_text_length")));
  if (mine.has("negatives") && saved.integer("negatives") != mine.integer("negatives"))
    refuse(
        fmt::format("{} pairs to tell apart in a pass, which decides the contrastive loss, and would go on with {}: "
                    "train.batch_size (and with task.negatives = global the number of ranks) must stay",
                    saved.integer("negatives"), mine.integer("negatives")));
  compare_files(saved, mine, checkpoint.path / "state.json", refuse);
}

std::optional<Checkpoint> checkpoint_to_resume(const Config& config, Communicator& comm) {
  const std::string& resume = config.run.resume;
  if (resume == "none") return {};
  std::string path;
  if (comm.rank() == 0) {
    StagedFolder::remove_leftovers(std::filesystem::path(config.run.output) / "checkpoints");
    if (resume != "auto")
      path = open_checkpoint(resume).path.string();
    else if (auto latest = find_latest_checkpoint(std::filesystem::path(config.run.output) / "checkpoints"))
      path = latest->path.string();
  }
  path = comm.broadcast_text(path, 0);
  if (path.empty()) return {};
  return open_checkpoint(path);
}

}  // namespace viaduct
