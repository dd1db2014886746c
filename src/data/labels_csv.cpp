// folder/labels.csv: a line per image with its file, its label and, where it is given, its split.
#include <algorithm>
#include <filesystem>
#include <optional>

#include "core/base/check.hpp"
#include "core/base/log.hpp"
#include "data/csv.hpp"
#include "data/image_files.hpp"
#include "data/split_column.hpp"

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

}  // namespace

DatasetPtr open_labels_csv(const std::string& folder, Split split, const std::vector<std::string>& classes) {
  const std::string name = (fs::path(folder) / "labels.csv").string();
  const std::vector<uint8_t> bytes = read_file(name);
  const std::vector<CsvRow> rows = parse_csv({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, name);
  if (rows.size() < 2) fail_input(fmt::format("{} holds no images: expected a line per image after the header", name));
  const Columns columns = find_columns(rows[0], name);
  std::vector<SplitValue> splits;
  for (size_t i = 1; columns.split && i < rows.size(); ++i)
    splits.push_back({rows[i].fields[*columns.split], rows[i].line});
  const std::string wanted = columns.split ? split_wanted(splits, split, name) : "";

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
