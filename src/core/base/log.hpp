// One line a message on standard error. Information is said by rank 0 alone; warnings and errors name the rank and the
// host.
#pragma once
#include <fmt/format.h>

#include <functional>
#include <string>

namespace viaduct::log {

struct Identity {
  int rank = 0, size = 1;
  std::string host;
};
void set_identity(Identity);
const Identity& identity();

// Every line passes through here first; a progress bar clears itself with it, a test collects it.
void set_sink(std::function<void(const std::string& line)>);

void write_info(const std::string&);
void write_warning(const std::string&);
void write_error(const std::string&);

template <class... Args>
void info(fmt::format_string<Args...> f, Args&&... args) {
  write_info(fmt::format(f, std::forward<Args>(args)...));
}
template <class... Args>
void warn(fmt::format_string<Args...> f, Args&&... args) {
  write_warning(fmt::format(f, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> f, Args&&... args) {
  write_error(fmt::format(f, std::forward<Args>(args)...));
}

}  // namespace viaduct::log
