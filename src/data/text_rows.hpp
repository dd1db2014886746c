// The lines of captions.jsonl, metadata.jsonl and pairs files; see open_texts().
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace viaduct {

struct TextRow {
  int64_t line = 0;   // from 1
  std::string image;  // normalised, below the file's folder
  std::vector<std::string> texts;
  std::string split;
  int32_t label = -1;   // none
  std::string problem;  // why the row cannot be used; empty: it can
};

struct TextRows {
  std::string file, folder;  // folder ends in a slash, or is empty
  std::vector<TextRow> rows;
};

// `path` is the file or its folder. Blank lines are no rows.
TextRows read_text_rows(const std::string& path);

}  // namespace viaduct
