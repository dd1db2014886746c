// Comma-separated values (RFC 4180): quoted fields may hold commas, quotes ("" inside) and line ends.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace viaduct {

struct CsvRow {
  int line = 0;  // where it begins, counted from 1
  std::vector<std::string> fields;
};

// All rows, the header first; empty lines are skipped. Every row must have as many fields as the header.
// `name` is what errors call the text.
std::vector<CsvRow> parse_csv(std::string_view text, std::string_view name);

}  // namespace viaduct
