#define PCRE2_CODE_UNIT_WIDTH 8
#include "data/tokenizer_text.hpp"

#include <pcre2.h>

#include <unordered_map>

#include "core/base/check.hpp"

namespace viaduct {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// GPT-2's pattern as Python's tokenizers reads it, that is with the categories of Unicode 16 and \s = White_Space.
// PCRE2 differs in two points. Its \s holds U+180E, so the class is spelt out. And its tables are as old as the library
// (10.42: Unicode 14), so what Unicode 15 and 16 added is listed; a library newer than Unicode 16 knows letters that
// tokenizers takes for punctuation.
#define SPACE R"(\t-\r\x20\x85\xA0\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})"
#define LETTER                                                                                                  \
  R"(\p{L}\x{1C89}\x{1C8A}\x{A7CB}-\x{A7CD}\x{A7DA}-\x{A7DC}\x{105C0}-\x{105F3}\x{10D4A}-\x{10D65})"            \
  R"(\x{10D6F}-\x{10D85}\x{10EC2}-\x{10EC4}\x{1123F}\x{11240}\x{11380}-\x{11389}\x{1138B}\x{1138E})"            \
  R"(\x{11390}-\x{113B5}\x{113B7}\x{113D1}\x{113D3}\x{11BC0}-\x{11BE0}\x{11F02}\x{11F04}-\x{11F10})"            \
  R"(\x{11F12}-\x{11F33}\x{1342F}\x{13441}-\x{13446}\x{13460}-\x{143FA}\x{16100}-\x{1611D}\x{16D40}-\x{16D6C})" \
  R"(\x{18CFF}\x{1B132}\x{1B155}\x{1DF25}-\x{1DF2A}\x{1E030}-\x{1E06D}\x{1E4D0}-\x{1E4EB}\x{1E5D0}-\x{1E5ED})"  \
  R"(\x{1E5F0}\x{2B739}\x{2EBF0}-\x{2EE5D}\x{31350}-\x{323AF})"
#define NUMBER                                                                                              \
  R"(\p{N}\x{10D40}-\x{10D49}\x{116D0}-\x{116E3}\x{11BF0}-\x{11BF9}\x{11F50}-\x{11F59}\x{16130}-\x{16139})" \
  R"(\x{16D70}-\x{16D79}\x{1CCF0}-\x{1CCF9}\x{1D2C0}-\x{1D2D3}\x{1E4F0}-\x{1E4F9}\x{1E5F1}-\x{1E5FA})"
constexpr const char* kPattern = "'s|'t|'re|'ve|'m|'ll|'d| ?+[" LETTER "]++| ?+[" NUMBER "]++| ?+[^" SPACE LETTER NUMBER
                                 "]++|[" SPACE "]+(?![^" SPACE "])|[" SPACE "]++";

// Shared by all threads: PCRE2 never changes a compiled pattern.
pcre2_code* pattern() {
  static pcre2_code* const compiled = [] {
    int error = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(kPattern), PCRE2_ZERO_TERMINATED,
                                     PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
    expect(code, fmt::format("the pattern of words compiles (PCRE2 error {} at {})", error, offset));
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // where there is no compiler the interpreter finds the same
    return code;
  }();
  return compiled;
}

struct CodePoint {
  char32_t value;
  int bytes;  // of the character, or of the maximal invalid part
  bool valid;
};

// The first code point of a text that is not empty (Unicode, table 3-7).
CodePoint first_code_point(std::string_view text) {
  auto byte = [&](size_t i) { return i < text.size() ? uint8_t(text[i]) : 0u; };
  unsigned lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  int length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4) return {0, 1, false};
  unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;   // no overlong forms
  unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;  // no surrogates, nothing above U+10FFFF
  char32_t value = lead & (0x7Fu >> length);
  for (int i = 1; i < length; ++i, low = 0x80, high = 0xBF) {
    if (byte(size_t(i)) < low || byte(size_t(i)) > high) return {0, i, false};
    value = value << 6 | (byte(size_t(i)) & 0x3F);
  }
  return {value, length, true};
}

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

}  // namespace

std::string_view valid_utf8(std::string_view text, std::string& repaired) {
  size_t copied = 0;  // bytes of `text` that are in `repaired`
  bool valid = true;
  for (size_t at = 0; at < text.size();) {
    if (uint8_t(text[at]) < 0x80) {
      ++at;
      continue;
    }
    CodePoint c = first_code_point(text.substr(at));
    if (!c.valid) {
      if (valid) repaired.clear();
      valid = false;
      repaired.append(text, copied, at - copied).append(kReplacement);
      copied = at + size_t(c.bytes);
    }
    at += size_t(c.bytes);
  }
  if (valid) return text;
  return repaired.append(text, copied);
}

size_t trailing_space(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t begin = end - 1;
    while (begin > 0 && (uint8_t(text[begin]) & 0xC0) == 0x80) --begin;
    if (!is_space(first_code_point(text.substr(begin, end - begin)).value)) break;
    end = begin;
  }
  return text.size() - end;
}

size_t leading_space(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    CodePoint c = first_code_point(text.substr(at));
    if (!is_space(c.value)) break;
    at += size_t(c.bytes);
  }
  return at;
}

const std::array<std::string, 256>& byte_symbols() {
  static const std::array<std::string, 256> symbols = [] {
    std::array<std::string, 256> table;
    unsigned unprintable = 0;
    for (unsigned b = 0; b < 256; ++b) {
      bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD);
      unsigned c = printable ? b : 0x100 + unprintable++;
      table[b] = c < 0x80 ? std::string{char(c)} : std::string{char(0xC0 | c >> 6), char(0x80 | (c & 0x3F))};
    }
    return table;
  }();
  return symbols;
}

bool bytes_of_symbols(std::string_view symbols, std::string& bytes) {
  static const std::unordered_map<std::string_view, char> table = [] {
    std::unordered_map<std::string_view, char> inverse;
    for (unsigned b = 0; b < 256; ++b) inverse[byte_symbols()[b]] = char(b);
    return inverse;
  }();
  bytes.clear();
  for (size_t at = 0; at < symbols.size();) {
    size_t length = size_t(first_code_point(symbols.substr(at)).bytes);
    auto found = table.find(symbols.substr(at, length));
    if (found == table.end()) return false;
    bytes += found->second;
    at += length;
  }
  return true;
}

WordCutter::WordCutter() : match_(pcre2_match_data_create(1, nullptr)) {
  if (!match_) throw std::bad_alloc();
}

WordCutter::~WordCutter() { pcre2_match_data_free(match_); }

std::string_view WordCutter::next(std::string_view text, size_t at) {
  // Without PCRE2_NO_UTF_CHECK every word would cost a check of the whole text.
  int found = pcre2_match(pattern(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                          PCRE2_NO_UTF_CHECK | PCRE2_ANCHORED, match_, nullptr);
  expect(found > 0, fmt::format("a word begins at every character (PCRE2 says {})", found));
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match_);
  return text.substr(at, bounds[1] - at);
}

}  // namespace viaduct
