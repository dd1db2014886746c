#include "data/csv.hpp"

#include "core/base/check.hpp"

namespace viaduct {
namespace {

class Parser {
 public:
  Parser(std::string_view text, std::string_view name) : text_(text), name_(name) {
    if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;  // a byte order mark, as spreadsheets write it
  }

  std::vector<CsvRow> rows() {
    std::vector<CsvRow> rows;
    while (at_ < text_.size()) {
      CsvRow row = next_row();
      if (row.fields.size() == 1 && row.fields[0].empty()) continue;
      if (!rows.empty() && row.fields.size() != rows[0].fields.size())
        fail_input(fmt::format("{}:{}: expected {} fields as in the first line, found {}", name_, row.line,
                               rows[0].fields.size(), row.fields.size()));
      rows.push_back(std::move(row));
    }
    return rows;
  }

 private:
  CsvRow next_row() {
    CsvRow row{line_, {}};
    for (;;) {
      row.fields.push_back(at_ < text_.size() && text_[at_] == '"' ? quoted() : plain());
      if (at_ < text_.size() && text_[at_] == ',') {
        ++at_;
        continue;
      }
      if (at_ < text_.size() && text_[at_] == '\r') ++at_;
      if (at_ < text_.size() && text_[at_] == '\n') ++at_;
      ++line_;
      return row;
    }
  }

  std::string plain() {
    size_t end = std::min(text_.find_first_of(",\r\n", at_), text_.size());
    std::string field(text_.substr(at_, end - at_));
    at_ = end;
    return field;
  }

  std::string quoted() {
    const int first = line_;
    std::string field;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\n') ++line_;
      if (text_[at_] != '"') {
        field += text_[at_];
      } else if (text_.substr(at_ + 1).starts_with('"')) {
        field += text_[++at_];
      } else {
        ++at_;
        if (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '\r' && text_[at_] != '\n')
          fail_input(fmt::format("{}:{}: text after the closing quote of a field", name_, line_));
        return field;
      }
    }
    fail_input(fmt::format("{}:{}: a quoted field never ends", name_, first));
  }

  std::string_view text_, name_;
  size_t at_ = 0;
  int line_ = 1;
};

}  // namespace

std::vector<CsvRow> parse_csv(std::string_view text, std::string_view name) { return Parser(text, name).rows(); }

}  // namespace viaduct
