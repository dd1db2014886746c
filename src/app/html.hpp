// Text that others wrote, for pages and tables.
#pragma once
#include <string>

namespace viaduct::app {

// Control characters, which may move the cursor or break a row, as their picture U+FFFD.
std::string printable(const std::string&);
// Harmless anywhere in an HTML page, in quoted attributes too.
std::string escape(const std::string&);

}  // namespace viaduct::app
