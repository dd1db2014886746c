// Images with texts on disk: what every caption or pairs file becomes.
#pragma once
#include <map>
#include <optional>

#include "data/dataset.hpp"
#include "data/text_rows.hpp"

namespace viaduct {

struct ImageTexts : Dataset {
  std::string root;  // in front of every path; empty or ending in a slash
  std::string name;  // of the file, without its folder
  std::vector<std::string> images;
  std::vector<std::vector<std::string>> captions;
  std::vector<int64_t> lines;
  std::vector<int32_t> labels;              // one per row, or empty
  std::vector<std::string> names;           // of the labels
  std::map<int64_t, std::string> problems;  // rows that cannot be read, and why

  int64_t size() const override { return int64_t(images.size()); }
  std::string id(int64_t i) const override;
  std::vector<uint8_t> read(int64_t i) const override;
  bool has_labels() const override { return !labels.empty(); }
  int32_t label(int64_t i) const override { return labels.at(size_t(i)); }
  const std::vector<std::string>& classes() const override { return names; }
  bool has_text() const override { return true; }
  const std::vector<std::string>& texts(int64_t i) const override { return captions.at(size_t(i)); }
  std::string image(int64_t i) const override { return images.at(size_t(i)); }
  int64_t line(int64_t i) const override { return lines.at(size_t(i)); }
};

// Without the rows that cannot be used; see open_texts().
TextRows usable_rows(TextRows, int64_t max_bad);
// The rows of a split, where the file tells them apart; without `split` all of them.
DatasetPtr make_image_texts(TextRows, std::optional<Split> split);

}  // namespace viaduct
