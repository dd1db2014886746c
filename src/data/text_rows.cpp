#include "data/text_rows.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/base/check.hpp"
#include "core/base/json.hpp"

namespace viaduct {
namespace fs = std::filesystem;
namespace {

constexpr size_t kLongestLine = size_t(256) << 20;
constexpr const char* kPlace = "the row";  // the caller knows the file and the line

fs::path find_file(const std::string& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) fail_input(fmt::format("'{}' does not exist", path));
  if (fs::is_directory(path, ignored)) {
    for (const char* name : {"captions.jsonl", "metadata.jsonl", "pairs.jsonl"})
      if (fs::path file = fs::path(path) / name; fs::is_regular_file(file, ignored)) return file;
    fail_input(fmt::format("the folder '{}' holds no captions.jsonl, metadata.jsonl or pairs.jsonl", path));
  }
  if (!fs::is_regular_file(path, ignored) || fs::path(path).extension() != ".jsonl")
    fail_input(
        fmt::format("'{}': expected a .jsonl file with an object per line (image and captions, or image and "
                    "text), or a folder with captions.jsonl or pairs.jsonl",
                    path));
  return path;
}

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\n\v\f\r") == text.npos; }

const nlohmann::json* find_first(const nlohmann::json& row, std::initializer_list<const char*> keys) {
  for (const char* key : keys)
    if (auto found = row.find(key); found != row.end() && !found->is_null()) return &*found;
  return nullptr;
}

// A path that leads out of the folder would make the set another one on another machine.
std::string read_image(const nlohmann::json& row) {
  const nlohmann::json* value = find_first(row, {"image", "file_name"});
  if (!value) fail_input("the row names no image: expected a path as 'image' or 'file_name'");
  if (!value->is_string()) fail_input("the row's image is not a text: expected a path");
  const std::string& written = value->get_ref<const std::string&>();
  const std::string image = fs::path(written).lexically_normal().string();
  if (is_blank(written) || image == "." || image.ends_with('/') || image.find('\0') != image.npos)
    fail_input("the row's image is no path of a file");
  if (image.starts_with('/') || image == ".." || image.starts_with("../"))
    fail_input(fmt::format("the image '{}' is not below the folder of the file: expected a relative path", written));
  return image;
}

std::vector<std::string> read_texts(const nlohmann::json& row) {
  const nlohmann::json* value = find_first(row, {"captions", "caption", "text"});
  if (!value) fail_input("the row has no text: expected 'captions', 'caption' or 'text'");
  const auto& list = value->is_array() ? *value : nlohmann::json::array({*value});
  std::vector<std::string> texts;
  for (const nlohmann::json& text : list) {
    if (!text.is_string()) fail_input(fmt::format("the row's texts: expected a text, found {}", text.type_name()));
    if (const auto& words = text.get_ref<const std::string&>(); !is_blank(words)) texts.push_back(words);
  }
  if (texts.empty()) fail_input("the row's texts are empty");
  return texts;
}

void read_row(std::string_view line, TextRow& row) try {
  if (line.size() > kLongestLine) fail_input(fmt::format("the row has {} bytes; no caption is that long", line.size()));
  const nlohmann::json json = parse_json_object(line, kPlace);
  row.split = json_value<std::string>(json, "split", "", kPlace);
  row.image = read_image(json);
  row.texts = read_texts(json);
  if (!find_first(json, {"label"})) return;
  const int64_t label = json_value<int64_t>(json, "label", -1, kPlace);
  if (label != 0 && label != 1) fail_input(fmt::format("the row's label: expected 0 or 1, found {}", label));
  if (row.texts.size() != 1)
    fail_input(fmt::format("the row has a label and {} texts: expected one text", row.texts.size()));
  row.label = int32_t(label);
} catch (const Error& e) {
  if (e.code() != Exit::input) throw;
  row.problem = e.what();
}

}  // namespace

TextRows read_text_rows(const std::string& path) {
  const fs::path file = find_file(path), folder = file.parent_path();
  TextRows result{file.string(), folder.empty() ? "" : (folder / "").string(), {}};
  std::ifstream in(file, std::ios::binary);
  std::string text;
  for (int64_t line = 1; std::getline(in, text); ++line) {
    std::string_view content = text;
    if (line == 1 && content.starts_with("\xef\xbb\xbf")) content.remove_prefix(3);
    if (is_blank(content)) continue;
    read_row(content, result.rows.emplace_back(TextRow{.line = line}));
  }
  if (!in.eof() || in.bad()) fail_input(fmt::format("{} cannot be read: {}", result.file, std::strerror(errno)));
  if (result.rows.empty()) fail_input(fmt::format("{} holds no rows: expected a JSON object per line", result.file));
  return result;
}

}  // namespace viaduct
