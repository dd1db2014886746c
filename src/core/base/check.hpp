// Errors: what every failure in Viaduct looks like. A message says what was expected, what was found and what to do
// next; the rank and the host are added where it is printed, so that a helper thread needs to know neither.
#pragma once
#include <fmt/format.h>

#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>

namespace viaduct {

// Exit codes of the program; a launcher may rely on them.
enum class Exit : int { ok = 0, config = 2, input = 3, crash = 4, stall = 5, diverged = 6, preempted = 75 };

class Error : public std::runtime_error {
 public:
  Error(Exit code, std::string message, std::source_location where)
      : std::runtime_error(std::move(message)), code_(code), where_(where) {}
  Exit code() const { return code_; }
  const std::source_location& where() const { return where_; }

 private:
  Exit code_;
  std::source_location where_;
};

[[noreturn]] inline void fail(Exit code, std::string message,
                              std::source_location where = std::source_location::current()) {
  throw Error(code, std::move(message), where);
}

// A promise between parts of the program was broken: a defect of ours, never of the user's input.
inline void expect(bool ok, std::string_view what, std::source_location where = std::source_location::current()) {
  if (!ok) fail(Exit::crash, std::string(what), where);
}

// The user's configuration or command line is wrong.
[[noreturn]] inline void fail_config(std::string message,
                                     std::source_location where = std::source_location::current()) {
  fail(Exit::config, std::move(message), where);
}

// A file that the user named is missing, damaged or not what it says it is.
[[noreturn]] inline void fail_input(std::string message, std::source_location where = std::source_location::current()) {
  fail(Exit::input, std::move(message), where);
}

}  // namespace viaduct
