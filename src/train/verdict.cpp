#include "train/verdict.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/base/log.hpp"

namespace viaduct {
namespace {
std::atomic<const char*> current_phase{"start"};
std::atomic<int64_t> current_step{0};

bool write_durably(const std::string& path, const std::string& text) {
  int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return false;
  bool good = ::write(file, text.data(), text.size()) == ssize_t(text.size()) && ::fsync(file) == 0;
  return ::close(file) == 0 && good;
}
}  // namespace

void note_position(const char* phase, int64_t step) { current_phase = phase, current_step = step; }

const char* outcome_of(Exit code) {
  switch (code) {
    case Exit::ok:
      return "completed";
    case Exit::config:
      return "bad_config";
    case Exit::input:
      return "bad_input";
    case Exit::crash:
      return "crashed";
    case Exit::stall:
      return "stalled";
    case Exit::diverged:
      return "diverged";
    case Exit::preempted:
      return "preempted";
  }
  return "crashed";
}

bool write_verdict(const std::string& run_folder, Exit code, const std::string& message) noexcept try {
  const auto& self = log::identity();
  nlohmann::ordered_json verdict = {
      {"outcome", outcome_of(code)},   {"exit_code", int(code)},      {"rank", self.rank}, {"host", self.host},
      {"phase", current_phase.load()}, {"step", current_step.load()}, {"message", message}};
  std::string path = run_folder + "/verdict.json";
  std::string mine = fmt::format("{}.{}.{}", path, self.host, ::getpid());
  std::string text = verdict.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  // link() is atomic and refuses to replace: a reader sees a whole verdict, and the first one stays.
  bool first = write_durably(mine, text) && ::link(mine.c_str(), path.c_str()) == 0;
  ::unlink(mine.c_str());
  return first;
} catch (...) {
  return false;
}

void clear_verdict(const std::string& run_folder) {
  std::error_code ignored;  // none there is as good
  std::filesystem::remove(run_folder + "/verdict.json", ignored);
}

}  // namespace viaduct
