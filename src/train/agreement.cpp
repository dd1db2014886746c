#include "train/agreement.hpp"

#include <link.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/base/check.hpp"
#include "core/base/files.hpp"
#include "core/base/hash.hpp"
#include "core/base/json.hpp"
#include "models/hf_config.hpp"

namespace viaduct {
namespace {

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0, end; at < text.size(); at = end + 1) {
    end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
  }
  return lines;
}

std::string ranks_named(const std::vector<size_t>& ranks) {
  return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", fmt::join(ranks, ", "));
}

// Of libraries with a version in their name; what MPI loads beside them depends on the host's network.
int add_library(dl_phdr_info* info, size_t, void* to) {
  std::error_code unknown;
  const auto file = std::filesystem::canonical(info->dlpi_name, unknown).filename().string();
  if (file.find(".so.") != file.npos) static_cast<std::set<std::string>*>(to)->insert("library " + file);
  return 0;
}

std::string program_hash() {
  static const std::string hash = [] {
    std::error_code unknown;
    const auto path = std::filesystem::read_symlink("/proc/self/exe", unknown);
    return unknown ? std::string("unknown") : xxh3_hex(read_file(path, int64_t(1) << 32));
  }();
  return hash;
}

const std::set<std::string> kOfThisHost{"data.train",     "data.eval",  "data.tokenizer",   "data.workers",
                                        "device.threads", "run.output", "model.pretrained", "run.resume"};

}  // namespace

void agree_on(const std::string& what, const std::vector<std::string>& entries, Communicator& comm) {
  const std::string text = fmt::format("{}", fmt::join(entries, "\n")), mine = xxh3_hex(text);
  const auto hashes = comm.all_gather_text(mine);
  if (std::all_of(hashes.begin(), hashes.end(), [&](const std::string& hash) { return hash == hashes[0]; })) return;
  std::vector<std::vector<std::string>> all;
  for (const std::string& theirs : comm.all_gather_text(text)) all.push_back(split_lines(theirs));
  for (size_t i = 0;; ++i) {
    std::map<std::string, std::vector<size_t>> found;
    for (size_t r = 0; r < all.size(); ++r) found[i < all[r].size() ? all[r][i] : "nothing more"].push_back(r);
    if (found.size() == 1) continue;
    std::string list;
    for (const auto& [entry, ranks] : found)
      list += fmt::format("{}{}: {}", list.empty() ? "" : "; ", ranks_named(ranks), entry);
    fail_config(fmt::format("the ranks do not agree on {}, first in entry {}: {}; every rank needs the same", what,
                            i + 1, list));
  }
}

std::vector<std::string> described_run(const Config& config) {
  std::vector<std::string> entries{"program " + program_hash()};
  std::set<std::string> libraries;
  ::dl_iterate_phdr(add_library, &libraries);
  entries.insert(entries.end(), libraries.begin(), libraries.end());
  std::string section;
  for (const std::string& line : split_lines(effective_config(config))) {
    const size_t equals = line.find(" = ");
    if (line.starts_with('[')) section = line.substr(1, line.find(']') - 1) + ".";
    if (line.starts_with('#') || equals == line.npos || kOfThisHost.contains(section + line.substr(0, equals)))
      continue;
    entries.push_back(section + line.substr(0, line.find_last_not_of(' ', line.find(" #")) + 1));
  }
  return entries;
}

void agree_on_model(const ModelSource& source, Communicator& comm) {
  if (source.teacher) agree_on_model(*source.teacher, comm);
  auto files = source.more_files();
  files["config.json"] = model_config_json(source.config, source.architecture());
  nlohmann::json mine;
  for (const auto& [name, text] : files) mine[name] = xxh3_hex(text);

  std::set<std::string> names;
  std::vector<nlohmann::json> found;
  for (const std::string& text : comm.all_gather_text(mine.dump())) {
    found.push_back(parse_json_object(text, "another rank"));
    for (const auto& [name, hash] : found.back().items()) names.insert(name);
  }
  for (const std::string& name : names) {
    std::vector<size_t> others;
    for (size_t rank = 1; rank < found.size(); ++rank)
      if (found[rank].value(name, "") != found[0].value(name, "")) others.push_back(rank);
    if (!others.empty())
      fail_input(
          fmt::format("{} {} found another {} than rank 0; every host needs the same files under model.pretrained, "
                      "task.teacher and data.tokenizer",
                      others.size() == 1 ? "rank" : "ranks", fmt::join(others, ", "), name));
  }
}

}  // namespace viaduct
