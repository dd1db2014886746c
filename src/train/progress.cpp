#include "train/progress.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/base/log.hpp"
#include "train/step_parts.hpp"

namespace viaduct {
namespace {

void write_terminal(const std::string& text) { [[maybe_unused]] auto written = ::write(2, text.data(), text.size()); }

int width_of(int file) {
  winsize size{};
  if (!::isatty(file) || ::ioctl(file, TIOCGWINSZ, &size) != 0) return 0;
  return size.ws_col ? size.ws_col : 80;
}

// "data 0.01 forward 0.2 .. s": of a step.
std::string parts_text(const StepReport& r) {
  std::string text;
  for (const StepPart& part : known_parts(r)) text += fmt::format("{} {:.2g} ", part.name, r.*part.seconds);
  return text + "s";
}

std::string clock_text(double seconds) {
  auto s = int64_t(seconds + 0.5);
  return s >= 3600 ? fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
                   : fmt::format("{}:{:02}", s / 60, s % 60);
}

}  // namespace

int terminal_width() {
  const char* term = std::getenv("TERM");
  if (!term || !std::strcmp(term, "dumb")) return 0;
  if (int width = width_of(2)) return width;
  // mpirun gives its ranks a pipe and copies it to its own standard error as it is.
  if (!std::getenv("OMPI_COMM_WORLD_SIZE")) return 0;
  int file = ::open(fmt::format("/proc/{}/fd/2", ::getppid()).c_str(), O_WRONLY | O_NOCTTY | O_CLOEXEC);
  if (file < 0) return 0;
  int width = width_of(file);
  ::close(file);
  return width;
}

std::string bar_line(int width, int64_t done, int64_t total, const std::string& text) {
  std::string line = fmt::format("{:>3}% ", 100 * done / std::max<int64_t>(total, 1));
  int room = std::min(width - int(line.size() + text.size()) - 4, 40);
  if (room >= 8) {
    auto filled = int(room * std::min(done, total) / std::max<int64_t>(total, 1));
    line += "[" + std::string(size_t(filled), '=') + std::string(size_t(room - filled), ' ') + "] ";
  }
  return (line + text).substr(0, size_t(std::max(width - 1, 0)));
}

Progress::Progress(int64_t first_step, int64_t log_every, bool shown)
    : first_(first_step),
      log_every_(log_every),
      shown_(shown),
      width_(shown ? terminal_width() : 0),
      start_(std::chrono::steady_clock::now()) {
  if (width_)  // a log line takes the bar's place; the next step draws the bar below it
    log::set_sink([](const std::string& line) { write_terminal("\r\033[K" + line + "\n"); });
}

Progress::~Progress() {
  if (!width_) return;
  log::set_sink(nullptr);
  write_terminal("\r\033[K");
}

std::string Progress::eta(const StepReport& r) const {
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  return clock_text(seconds / double(r.step - first_) * double(r.total_steps - r.step));
}

void Progress::stepped(const StepReport& r) {
  if (!shown_) return;
  window_.add(r);
  auto now = std::chrono::steady_clock::now();
  bool last = r.step == r.total_steps;
  if (width_ && (last || now - last_draw_ > std::chrono::milliseconds(100))) {
    last_draw_ = now;
    auto text = fmt::format("step {}/{}  loss {:.4f}  {:.1f} images/s  {} left", r.step, r.total_steps, r.loss,
                            window_.take().samples_per_second, eta(r));
    write_terminal("\r\033[K" + bar_line(width_, r.step, r.total_steps, text));
  }
  if (width_ || (r.step % log_every_ != 0 && !last)) return;
  StepReport m = window_.take();
  log::info("step {}/{}  epoch {:.2f}  loss {:.4f}  lr {:.3g}  grad norm {:.3g}  {:.1f} images/s  {}  {} left", m.step,
            m.total_steps, m.epoch, m.loss, m.learning_rate, m.grad_norm, m.samples_per_second, parts_text(m), eta(r));
}

void Progress::evaluated(int64_t step, double epoch, const std::map<std::string, double>& metrics) {
  if (!shown_) return;
  std::string line = fmt::format("step {}  epoch {:.2f}", step, epoch);
  for (const auto& [name, value] : metrics) line += fmt::format("  {} {:.4g}", name, value);
  log::info("{}", line);
}

}  // namespace viaduct
