// folder/labels.csv: a line per image with its file, its label and, where it is given, its split.
#include <algorithm>
#include <filesystem>
#include <optional>

#include "core/base/check.hpp"
#include "core/base/log.hpp"
#include "data/csv.hpp"
#include "data/image_files.hpp"

namespace viaduct {
namespace fs = std::filesystem;
namespace {

struct Columns {
  size_t file, label;
  std::optional<size_t> split;
};

Columns find_columns(const CsvRow& header, const std::string& name) {
  auto find = [&](std::string_view column) -> std::optional<size_t> {
    auto it = std::find(header.fields.begin(), header.fields.end(), column);
    return it == header.fields.end() ? std::nullopt : std::optional(size_t(it - header.fields.begin()));
  };
  auto file = find("file"), label = find("label");
  if (!file || !label)
    fail_input(fmt::format("{}: expected a first line that names the columns file, label and perhaps split; found '{}'",
                           name, fmt::join(header.fields, ",")));
  return {*file, *label, find("split")};
}

// Of several splits that are not for training, evaluation takes the first of these that occurs.
constexpr const char* kEvalNames[] = {"eval", "val", "valid", "validation", "dev", "test"};

std::string split_wanted(const std::vector<CsvRow>& rows, size_t column, Split split, const std::string& name) {
  auto occurs = [&](std::string_view value) {
    return std::any_of(rows.begin() + 1, rows.end(), [&](const CsvRow& row) { return row.fields[column] == value; });
  };
  for (size_t i = 1; i < rows.size(); ++i) {
    const std::string& value = rows[i].fields[column];
    if (value != "train" && std::find(std::begin(kEvalNames), std::end(kEvalNames), value) == std::end(kEvalNames))
      fail_input(fmt::format("{}:{}: the split '{}' is not known; expected train or one of {}", name, rows[i].line,
                             value, fmt::join(kEvalNames, ", ")));
  }
  if (split == Split::train) {
    if (occurs("train")) return "train";
    fail_input(fmt::format("{}: no line has the split train", name));
  }
  for (const char* value : kEvalNames)
    if (occurs(value)) return value;
  fail_input(fmt::format("{}: no line has a split for evaluation (one of {})", name, fmt::join(kEvalNames, ", ")));
}

}  // namespace

DatasetPtr open_labels_csv(const std::string& folder, Split split, const std::vector<std::string>& classes) {
  const std::string name = (fs::path(folder) / "labels.csv").string();
  const std::vector<uint8_t> bytes = read_file(name);
  const std::vector<CsvRow> rows = parse_csv({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, name);
  if (rows.size() < 2) fail_input(fmt::format("{} holds no images: expected a line per image after the header", name));
  const Columns columns = find_columns(rows[0], name);
  const std::string wanted = columns.split ? split_wanted(rows, *columns.split, split, name) : "";

  auto files = std::make_shared<ImageFiles>();
  files->root = (fs::path(folder) / "").string();
  std::vector<std::string> label_names;
  for (size_t i = 1; i < rows.size(); ++i) {
    const CsvRow& row = rows[i];
    if (columns.split && row.fields[*columns.split] != wanted) continue;
    const std::string& path = row.fields[columns.file];
    std::error_code ignored;
    if (path.empty() || !fs::is_regular_file(files->root + path, ignored))
      fail_input(fmt::format("{}:{}: the file '{}' does not exist below '{}'", name, row.line, path, folder));
    if (row.fields[columns.label].empty()) fail_input(fmt::format("{}:{}: the label is empty", name, row.line));
    files->paths.push_back(path);
    label_names.push_back(row.fields[columns.label]);
  }
  assign_labels(*files, label_names, classes, name);
  log::info("{}: {} images of {} classes{}", name, files->size(), files->names.size(),
            wanted.empty() ? "" : fmt::format(" with the split {}", wanted));
  return files;
}

}  // namespace viaduct
