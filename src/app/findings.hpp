// Lines of `doctor`: facts and problems.
#pragma once
#include <fmt/format.h>

#include <string>
#include <utility>

namespace viaduct::app {

struct Findings {
  std::string text;
  int problems = 0;
  template <class... Args>
  void fact(const char* name, fmt::format_string<Args...> f, Args&&... args) {
    text += fmt::format("  {:<14} {}\n", name, fmt::format(f, std::forward<Args>(args)...));
  }
  template <class... Args>
  void problem(fmt::format_string<Args...> f, Args&&... args) {
    text += "  PROBLEM        " + fmt::format(f, std::forward<Args>(args)...) + "\n", ++problems;
  }
};

}  // namespace viaduct::app
