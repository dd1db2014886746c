// Files of the source tree, wherever the tests are run from.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <string>

namespace viaduct::test {

// VIADUCT_SOURCE, or the folder in which the suite is run.
inline std::filesystem::path source_path(const std::string& relative) {
  const char* root = std::getenv("VIADUCT_SOURCE");
  return std::filesystem::path(root ? root : ".") / relative;
}

}  // namespace viaduct::test
