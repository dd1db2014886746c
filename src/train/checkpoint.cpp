#include "train/checkpoint.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/base/check.hpp"
#include "core/base/json.hpp"
#include "core/base/log.hpp"
#include "core/device/host_copy.hpp"
#include "models/hf_layout.hpp"
#include "models/safetensors.hpp"

namespace viaduct {
namespace {

namespace fs = std::filesystem;
constexpr const char* kWeights = "weights.safetensors";
constexpr const char* kM = "adam_m.safetensors";
constexpr const char* kV = "adam_v.safetensors";
constexpr const char* kAverage = "average.safetensors";
constexpr const char* kState = "state.json";
constexpr const char* kManifest = "manifest.json";
constexpr const char* kBest = "best";
constexpr int64_t kFormat = 2, kMaxManifest = 1 << 20;
// The state holds the files of a tokenizer, each of at most 64 MiB, in which a character may take six ("\u0001").
constexpr int64_t kMaxState = int64_t(4) << 30;

std::string name_of(int64_t step) { return fmt::format("step-{:08}", step); }

std::optional<int64_t> step_of(const std::string& name) {
  int64_t step = 0;
  if (!name.starts_with("step-") || name.size() < 13) return {};
  auto [end, error] = std::from_chars(name.data() + 5, name.data() + name.size(), step);
  if (error != std::errc() || end != name.data() + name.size() || step < 0) return {};
  return step;
}

// Newest first, damaged ones included.
std::vector<std::pair<int64_t, Path>> list_checkpoints(const Path& folder) {
  std::vector<std::pair<int64_t, Path>> found;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none))
    if (auto step = step_of(entry.path().filename().string())) found.emplace_back(*step, entry.path());
  std::sort(found.rbegin(), found.rend());
  return found;
}

// The manifest seals itself too: "xxh3" is the hash of the rest.
std::string seal(nlohmann::json manifest) {
  manifest.erase("xxh3");
  manifest["xxh3"] = xxh3_hex(manifest.dump());
  return manifest.dump(1) + "\n";
}

// What a file of a checkpoint is about: the frozen parameters are in the weights and have no moments.
struct Part {
  const ParameterStore& store;
  const OptimizerTensors& tensors;
  Tensor values;  // of tensors.range
  bool with_frozen;

  bool holds(const Parameter& p) const { return with_frozen || !p.frozen(); }
  std::pair<Range, Tensor> source(const Parameter& p) const {
    return p.frozen() ? std::pair(store.frozen_range(), tensors.frozen) : std::pair(tensors.range, values);
  }
};

FileDigest write_tensors(const Path& path, const ParameterStore& store, const ValuesOf& values, bool with_frozen) {
  std::vector<SafetensorsItem> items;
  for (const Parameter& p : store.parameters())
    if (with_frozen || !p.frozen())
      items.push_back(
          {p.name, "F32", {p.shape.dim.begin(), p.shape.dim.begin() + p.shape.rank}, nullptr, [&values, &p] {
             return values(p);
           }});
  return write_safetensors(path, items);
}

void read_tensors(const Path& path, const Part& part) {
  const auto& all = part.store.parameters();
  // What a student has for learning only is no part of the model that is exported from its checkpoint.
  auto held = std::count_if(all.begin(), all.end(),
                            [&](const Parameter& p) { return part.holds(p) && !p.name.starts_with(kLearningOnly); });
  SafetensorsFile file(path);
  Stream stream(part.values.device);
  auto found = std::count_if(file.tensors().begin(), file.tensors().end(),
                             [](const SafetensorsEntry& t) { return !t.name.starts_with(kLearningOnly); });
  if (found != held)
    fail_input(fmt::format("{}: expected the {} tensors of this model, found {}; it belongs to another model",
                           path.string(), held, found));
  for (const Parameter& p : all) {
    if (!part.holds(p)) continue;
    auto [range, values] = part.source(p);
    expect(values.shape == Shape({range.size()}), "there is one value per element of the range");
    const SafetensorsEntry& t = file.get(p.name);
    std::vector<int64_t> shape(p.shape.dim.begin(), p.shape.dim.begin() + p.shape.rank);
    if (t.shape != shape || t.dtype != "F32")
      fail_input(fmt::format("{}: tensor '{}': expected F32 {}, found {} {}; it belongs to another model",
                             path.string(), p.name, to_string(shape), t.dtype, to_string(t.shape)));
    Range wanted{std::max(p.range.begin, range.begin), std::min(p.range.end, range.end)};
    if (wanted.empty()) continue;
    HostCopy read(values.slice(wanted.begin - range.begin, wanted.end - range.begin), stream, HostCopy::Fetch::no);
    file.read(t, {wanted.begin - p.range.begin, wanted.end - p.range.begin}, data<float>(read.tensor()));
    read.store();
  }
}

// Under a name that nobody looks for first, so that a kill half-way leaves no half checkpoint.
void remove_checkpoint(const Path& path) {
  Path doomed = path.parent_path() / fmt::format(".{}.tmp-removed", path.filename().string());
  std::error_code error;
  fs::remove_all(doomed, error);
  fs::rename(path, doomed, error);
  if (!error) fs::remove_all(doomed, error);
  if (error) log::warn("the old checkpoint {} cannot be removed: {}", path.string(), error.message());
}

// checkpoints/best, of those that are still there.
struct Best {
  int64_t step;
  double value;
  std::string of;
  std::string line() const { return fmt::format("{} {} {}\n", name_of(step), value, of); }
};
std::vector<Best> read_best(const Path& folder) {
  std::vector<Best> all;
  if (!fs::exists(folder / kBest)) return all;
  std::istringstream lines(read_file(folder / kBest, kMaxManifest));
  for (std::string line, name; std::getline(lines, line);) {
    std::istringstream words(line);
    Best best{};
    words >> name >> best.value >> std::ws;
    auto step = words ? step_of(name) : std::nullopt;
    if (!step || !fs::exists(folder / name)) continue;
    best.step = *step;
    std::getline(words, best.of);
    all.push_back(best);
  }
  return all;
}

// Of equal ones the older is the better.
void note_score(const Path& folder, int64_t step, const Score& score, int64_t kept) {
  auto all = read_best(folder);
  std::erase_if(all, [&](const Best& b) { return b.step >= step || b.of != score.of; });
  auto place = std::find_if(all.begin(), all.end(), [&](const Best& b) {
    return score.smaller ? score.value < b.value : score.value > b.value;
  });
  all.insert(place, {step, score.value, score.of});
  all.resize(std::min(all.size(), size_t(kept)));
  std::string text;
  for (const Best& b : all) text += b.line();
  write_file_durable(folder / kBest, text);
}

void tidy(const Path& folder, int64_t step, Retention retention) {
  const auto best = best_checkpoints(folder);
  int64_t newest = 0;
  for (const auto& [at, path] : list_checkpoints(folder)) {
    if (at > step) {
      Path aside = folder / ("abandoned-" + path.filename().string());
      std::error_code error;
      fs::remove_all(aside, error);
      if (!error) fs::rename(path, aside, error);
      log::warn("{} is of a later step than this run has reached; {} {}", path.string(),
                error ? "it cannot be set aside, and a later resume would take it:" : "set aside as",
                error ? error.message() : aside.filename().string());
    } else if (newest++ >= retention.last && retention.last > 0 &&
               std::find(best.begin(), best.end(), path) == best.end()) {
      remove_checkpoint(path);
    }
  }
}

void verify_file(const Path& path, const nlohmann::json& expected) {
  std::string where = path.parent_path() / kManifest;
  if (!expected.is_object()) fail_input(fmt::format("{}: expected an object for each file", where));
  int64_t bytes = json_value<int64_t>(expected, "bytes", -1, where);
  int64_t found = FileReader(path).size();
  if (found != bytes) fail_input(fmt::format("{}: expected {} bytes, found {}", path.string(), bytes, found));
  if (digest_file(path).xxh3 != json_value<std::string>(expected, "xxh3", "", where))
    fail_input(fmt::format("{}: its content has changed since it was saved (the hash differs)", path.string()));
}

}  // namespace

Path save_checkpoint(const Path& folder, int64_t step, const RunState& state, const ParameterStore& store,
                     const CheckpointValues& values, const std::optional<Score>& score, Retention retention) {
  const std::string stands = state.json();
  expect(int64_t(stands.size()) <= kMaxState, "a saved state can be read again");
  make_folders(folder);
  StagedFolder::remove_leftovers(folder);
  Path destination = folder / name_of(step);
  StagedFolder staged(destination);
  nlohmann::json manifest = {{"format", kFormat}, {"step", step}};
  auto note = [&](const char* name, const FileDigest& digest) {
    manifest["files"][name] = {{"bytes", digest.bytes}, {"xxh3", digest.xxh3}};
  };
  auto write_text = [&](const char* name, const std::string& text) {
    FileWriter file(staged.path() / name);
    file.append(text);
    return file.finish();
  };
  note(kWeights, write_tensors(staged.path() / kWeights, store, values.master, true));
  note(kM, write_tensors(staged.path() / kM, store, values.m, false));
  note(kV, write_tensors(staged.path() / kV, store, values.v, false));
  if (values.average) note(kAverage, write_tensors(staged.path() / kAverage, store, values.average, false));
  note(kState, write_text(kState, stands));
  write_text(kManifest, seal(manifest));
  staged.commit(StagedFolder::Replace::anything);
  if (score) note_score(folder, step, *score, retention.best);
  tidy(folder, step, retention);
  return destination;
}

Checkpoint open_checkpoint(const Path& path) {
  Path where = path / kManifest;
  std::string text = read_file(where, kMaxManifest);
  nlohmann::json manifest = parse_json_object(text, where.string());
  if (seal(manifest) != text) fail_input(fmt::format("{}: its content has changed since it was saved", where.string()));
  if (json_value<int64_t>(manifest, "format", 0, where.string()) != kFormat)
    fail_input(fmt::format("{}: expected checkpoint format {}, found {}", where.string(), kFormat,
                           manifest.value("format", nlohmann::json()).dump()));
  auto files = manifest.find("files");
  for (const char* name : {kState, kWeights, kM, kV}) {
    if (files == manifest.end() || !files->is_object() || !files->contains(name))
      fail_input(fmt::format("{}: expected an entry for {}", where.string(), name));
    verify_file(path / name, (*files)[name]);
  }
  if (files->contains(kAverage)) verify_file(path / kAverage, (*files)[kAverage]);
  return {path, json_value<int64_t>(manifest, "step", 0, where.string()),
          RunState::parse(read_file(path / kState, kMaxState), path / kState)};
}

std::optional<Checkpoint> find_latest_checkpoint(const Path& folder) {
  auto all = list_checkpoints(folder);
  for (const auto& [step, path] : all) {
    try {
      return open_checkpoint(path);
    } catch (const Error& e) {
      if (e.code() != Exit::input) throw;
      log::warn("checkpoint of step {} is damaged and passed over: {}", step, e.what());
    }
  }
  if (all.empty()) return {};
  fail_input(
      fmt::format("{}: all {} checkpoints are damaged; the warnings above say how. To begin anew, choose another "
                  "run.output",
                  folder.string(), all.size()));
}

std::vector<Path> best_checkpoints(const Path& folder) {
  std::vector<Path> paths;
  for (const Best& best : read_best(folder)) paths.push_back(folder / name_of(best.step));
  return paths;
}

void load_checkpoint(const Path& path, const ParameterStore& store, const OptimizerTensors& tensors) {
  read_tensors(path / kWeights, {store, tensors, tensors.master, true});
  if (tensors.m) read_tensors(path / kM, {store, tensors, tensors.m, false});
  if (tensors.v) read_tensors(path / kV, {store, tensors, tensors.v, false});
  if (tensors.average) read_tensors(path / kAverage, {store, tensors, tensors.average, false});
}

}  // namespace viaduct
