#include "data/image_texts.hpp"

#include <algorithm>
#include <filesystem>

#include "core/base/check.hpp"
#include "core/base/log.hpp"
#include "data/image_files.hpp"
#include "data/split_column.hpp"

namespace viaduct {
namespace {

constexpr size_t kListed = 20;

std::string list_problems(const std::vector<const TextRow*>& bad, const std::string& file) {
  std::string list;
  for (size_t i = 0; i < std::min(bad.size(), kListed); ++i)
    list += fmt::format("\n  {}:{}: {}", file, bad[i]->line, bad[i]->problem);
  if (bad.size() > kListed) list += fmt::format("\n  and {} more", bad.size() - kListed);
  return list;
}

// What some rows have, all must have: the split and the label. The first row decides.
template <class Has>
bool all_or_none(const TextRows& file, const char* what, Has has) {
  const TextRow* first = nullptr;
  for (const TextRow& row : file.rows) {
    if (!row.problem.empty()) continue;
    if (!first) first = &row;
    if (has(row) == has(*first)) continue;
    const bool lacks = has(*first);
    fail_input(fmt::format("{}:{}: the row has {} {}, but line {} has {}; either every row has one or none does",
                           file.file, row.line, lacks ? "no" : "a", what, first->line, lacks ? "one" : "none"));
  }
  return first && has(*first);
}

std::string wanted_split(const TextRows& file, std::optional<Split> split) {
  const bool told_apart = all_or_none(file, "split", [](const TextRow& row) { return !row.split.empty(); });
  if (!split || !told_apart) return {};
  std::vector<SplitValue> values;
  for (const TextRow& row : file.rows)
    if (row.problem.empty()) values.push_back({row.split, row.line});
  return split_wanted(values, *split, file.file);
}

}  // namespace

std::string ImageTexts::id(int64_t i) const {
  const std::string& image = images.at(size_t(i));
  const std::string place = fmt::format("{}:{}", name, lines[size_t(i)]);
  return image.empty() ? place : fmt::format("{} ({})", place, image);
}

std::vector<uint8_t> ImageTexts::read(int64_t i) const {
  if (auto problem = problems.find(i); problem != problems.end()) fail_input(problem->second);
  return read_file(root + images.at(size_t(i)));
}

TextRows usable_rows(TextRows file, int64_t max_bad) {
  std::vector<const TextRow*> bad;
  for (const TextRow& row : file.rows)
    if (!row.problem.empty()) bad.push_back(&row);
  if (bad.empty()) return file;
  const int64_t total = int64_t(file.rows.size()), limit = max_bad < 0 ? std::max<int64_t>(10, total / 100) : max_bad;
  const std::string list = list_problems(bad, file.file);
  if (int64_t(bad.size()) > limit)
    fail_input(
        fmt::format("{} of {} rows cannot be used, more than the {} that are tolerated; repair or remove them:{}",
                    bad.size(), total, limit, list));
  if (int64_t(bad.size()) == total) fail_input(fmt::format("none of the {} rows can be used:{}", total, list));
  log::info("{} of {} rows are left out:{}", bad.size(), total, list);
  std::erase_if(file.rows, [](const TextRow& row) { return !row.problem.empty(); });
  return file;
}

DatasetPtr make_image_texts(TextRows file, std::optional<Split> split) {
  const std::string wanted = wanted_split(file, split);
  const bool labelled = all_or_none(file, "label", [](const TextRow& row) { return row.label >= 0; });
  auto data = std::make_shared<ImageTexts>();
  data->root = file.folder;
  data->name = std::filesystem::path(file.file).filename().string();
  if (labelled) data->names = {"0", "1"};
  int64_t texts = 0;
  for (TextRow& row : file.rows) {
    const bool unknown = !row.problem.empty() && row.split.empty();  // of which split it is
    if (!wanted.empty() && row.split != wanted && !unknown) continue;
    texts += int64_t(row.texts.size());
    if (!row.problem.empty()) data->problems.emplace(data->size(), std::move(row.problem)), row.texts = {""};
    data->images.push_back(std::move(row.image));
    data->captions.push_back(std::move(row.texts));
    data->lines.push_back(row.line);
    if (labelled) data->labels.push_back(std::max(row.label, 0));  // one that cannot be read has none
  }
  log::info("{}: {} rows with {} texts{}{}", file.file, data->size(), texts, labelled ? " and labels" : "",
            wanted.empty() ? "" : fmt::format(", with the split {}", wanted));
  return data;
}

DatasetPtr open_texts(const std::string& path, Split split, int64_t max_bad) {
  return make_image_texts(usable_rows(read_text_rows(path), max_bad), split);
}

DatasetPtr open_text_rows(const std::string& path, std::optional<Split> split) {
  return make_image_texts(read_text_rows(path), split);
}

}  // namespace viaduct
