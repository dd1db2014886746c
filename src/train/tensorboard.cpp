#include "train/tensorboard.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "core/base/log.hpp"
#include "train/event_file.hpp"
#include "train/step_parts.hpp"

namespace viaduct {
namespace {

constexpr const char* kPrefix = "events.out.tfevents.";  // TensorBoard reads what has tfevents in its name

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

std::vector<Path> event_files(const Path& folder) {
  std::vector<Path> found;
  std::error_code none;  // a folder that is not there yet
  for (const auto& entry : std::filesystem::directory_iterator(folder, none))
    if (entry.is_regular_file() && entry.path().filename().string().starts_with(kPrefix)) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

// TensorBoard reads the files of a folder in the order of their names, so they are numbered: a clock may step back.
Path next_file(const Path& folder) {
  auto files = event_files(folder);
  int64_t number = 0;
  if (!files.empty()) number = std::atoll(files.back().filename().string().substr(std::strlen(kPrefix)).c_str()) + 1;
  return folder / fmt::format("{}{:010}.{}", kPrefix, number, log::identity().host);
}

// As Hugging Face's callback names them: eval_loss is eval/loss.
std::string tag_of(const std::string& metric) {
  return metric.starts_with("eval_") ? "eval/" + metric.substr(5) : "train/" + metric;
}

// Of a Markdown table: a line does not end, and what marks text up stands for itself.
std::string cell(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (uint8_t(c) < 0x20) c = ' ';
    out += std::string_view("\\`*_[]<>|&~#").find(c) == std::string_view::npos ? std::string(1, c)
                                                                               : fmt::format("&#{};", int(c));
  }
  return out;
}

void add_pictures(std::vector<events::Message>& values, const std::vector<PredictedPicture>& pictures) {
  std::string table = "| picture | file | truth | prediction | score |\n|---|---|---|---|---|\n";
  for (size_t i = 0; i < pictures.size(); ++i) {
    const PredictedPicture& p = pictures[i];
    values.push_back(events::picture(fmt::format("predictions/{}", i), p.height, p.width,
                                     {reinterpret_cast<const char*>(p.file.data()), p.file.size()}));
    table += fmt::format("| {} | {} | {} | {} | {:.3f} |\n", i, cell(p.id), cell(p.truth), cell(p.prediction), p.score);
  }
  values.push_back(events::markdown("predictions", table));
}

}  // namespace

TensorBoard::TensorBoard(const Path& folder, int64_t start_step, int64_t log_every)
    : file_(next_file(folder)), log_every_(log_every) {
  file_.append(events::frame(events::file_version_event(now())));
  file_.append(events::frame(events::restart_event(now(), start_step + 1)));
}

void TensorBoard::cut(const Path& folder, int64_t last_step) {
  for (const Path& path : event_files(folder)) {
    const std::string text = read_file(path, int64_t(1) << 40);
    size_t keep = 0;
    for (size_t at = 0; auto message = events::next_frame(text, at); keep = at)
      if (events::step_of(*message) > last_step) break;
    if (keep < text.size()) std::filesystem::resize_file(path, keep);
  }
}

void TensorBoard::stepped(const StepReport& report) {
  window_.add(report);
  if (report.step % log_every_ != 0 && report.step != report.total_steps) return;
  const StepReport m = window_.take();
  std::vector<events::Message> values{
      events::scalar("train/loss", m.loss), events::scalar("train/learning_rate", m.learning_rate),
      events::scalar("train/grad_norm", m.grad_norm), events::scalar("train/epoch", m.epoch),
      events::scalar("train/samples_per_second", m.samples_per_second)};
  for (const StepPart& part : known_parts(m))
    values.push_back(events::scalar(std::string("seconds/") + part.name, m.*part.seconds));
  file_.append(events::frame(events::summary_event(now(), m.step, values)));
}

void TensorBoard::evaluated(int64_t step, double, const std::map<std::string, double>& metrics) {
  std::vector<events::Message> values;
  for (const auto& [name, value] : metrics) values.push_back(events::scalar(tag_of(name), value));
  if (predict_) add_pictures(values, predict_());
  file_.append(events::frame(events::summary_event(now(), step, values)));
}

void TensorBoard::saved(int64_t, const std::string&) { file_.sync(); }

}  // namespace viaduct
