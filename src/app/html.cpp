#include "app/html.hpp"

#include <cstdint>

namespace viaduct::app {

std::string printable(const std::string& text) {
  std::string out;
  for (char c : text) out += uint8_t(c) < 0x20 || c == 0x7f ? (c == '\n' || c == '\t' ? " " : "�") : std::string(1, c);
  return out;
}

std::string escape(const std::string& text) {
  std::string out;
  for (char c : printable(text)) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  return out;
}

}  // namespace viaduct::app
