// Scored image-text pairs for people: a page for the browser and a table for the terminal.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/files.hpp"

namespace viaduct::app {

struct ScoredPair {
  std::string image;  // its path, as the data names it
  std::string text;
  double score = 0;           // that they belong together, 0 to 1
  std::optional<bool> match;  // whether they do, where that is known
  std::vector<uint8_t> file;  // the encoded image; empty: the same as that of the pair before
};

// One self-contained HTML file: every picture with its texts below each other. Pairs of one image stand together.
// `of`: how many there were, where these are only the first.
void write_pair_page(const Path&, const std::string& title, const std::vector<ScoredPair>&, int64_t of = 0);
std::string pair_table(const std::vector<ScoredPair>&, int64_t of = 0);

}  // namespace viaduct::app
