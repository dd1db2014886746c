#include "train/verdict.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/base/log.hpp"

namespace viaduct {
namespace {
bool write_durably(const std::string& path, const std::string& text) {
  int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return false;
  bool good = ::write(file, text.data(), text.size()) == ssize_t(text.size()) && ::fsync(file) == 0;
  return ::close(file) == 0 && good;
}
}  // namespace

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

bool write_verdict(const std::string& run_folder, const Verdict& verdict) noexcept try {
  const auto& self = log::identity();
  nlohmann::ordered_json object = {{"outcome", outcome_of(verdict.code)},
                                   {"exit_code", int(verdict.code)},
                                   {"rank", verdict.rank < 0 ? self.rank : verdict.rank},
                                   {"host", verdict.host.empty() ? self.host : verdict.host},
                                   {"phase", verdict.phase},
                                   {"step", verdict.step},
                                   {"message", verdict.message}};
  std::string path = run_folder + "/verdict.json";
  std::string mine = fmt::format("{}.{}.{}", path, self.host, ::gettid());
  std::string text = object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
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
