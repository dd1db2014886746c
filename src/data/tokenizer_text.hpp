// What happens to a text before BPE: bytes that are not UTF-8 are replaced, then it is cut into words.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

struct pcre2_real_match_data_8;

namespace viaduct {

// The text itself if it is UTF-8; otherwise `repaired`, with U+FFFD for each maximal invalid part.
std::string_view valid_utf8(std::string_view text, std::string& repaired);

// Bytes that Unicode's White_Space takes at the end and at the beginning of a valid text.
size_t trailing_space(std::string_view text);
size_t leading_space(std::string_view text);

// GPT-2's printable symbols: vocab.json and merges.txt spell byte b as byte_symbols()[b], in UTF-8.
const std::array<std::string, 256>& byte_symbols();
// The bytes that symbols stand for; false if one of the characters is no such symbol.
bool bytes_of_symbols(std::string_view symbols, std::string& bytes);

// Cuts a valid text into the words that BPE never merges across. For one thread.
class WordCutter {
 public:
  WordCutter();
  WordCutter(WordCutter&&) = delete;
  ~WordCutter();
  std::string_view next(std::string_view text, size_t at);  // the word that begins at byte `at`; never empty

 private:
  pcre2_real_match_data_8* match_;
};

}  // namespace viaduct
