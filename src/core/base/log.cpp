#include "core/base/log.hpp"

#include <unistd.h>

#include <mutex>

namespace viaduct::log {
namespace {
std::mutex mutex;
Identity self;
std::function<void(const std::string&)> sink;

void write_line(std::string line) {
  std::lock_guard lock(mutex);
  if (sink) return sink(line);
  line += '\n';
  [[maybe_unused]] auto written = ::write(2, line.data(), line.size());  // one call: lines of ranks do not mix
}

std::string prefix(const char* level) {
  if (self.size == 1) return fmt::format("viaduct: {}", level);
  return fmt::format("viaduct: [rank {} on {}] {}", self.rank, self.host, level);
}
}  // namespace

void set_identity(Identity identity) { self = std::move(identity); }
const Identity& identity() { return self; }
void set_sink(std::function<void(const std::string&)> f) {
  std::lock_guard lock(mutex);
  sink = std::move(f);
}

void write_info(const std::string& text) {
  if (self.rank == 0) write_line(text);
}
void write_warning(const std::string& text) { write_line(prefix("warning: ") + text); }
void write_error(const std::string& text) { write_line(prefix("error: ") + text); }

}  // namespace viaduct::log
