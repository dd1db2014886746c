// What a user sees while a run goes on: a bar when a terminal is there, plain lines otherwise. Rank 0 alone has one.
#pragma once
#include <chrono>
#include <string>

#include "train/metrics_log.hpp"

namespace viaduct {

class Progress final : public Observer {
 public:
  // `shown` = false: says nothing (the other ranks).
  Progress(int64_t first_step, int64_t log_every, bool shown);
  ~Progress() override;
  Progress(const Progress&) = delete;

  void stepped(const StepReport&) override;
  void evaluated(int64_t step, double epoch, const std::map<std::string, double>& metrics) override;

 private:
  std::string eta(const StepReport&) const;

  int64_t first_, log_every_;
  bool shown_;
  StepWindow window_;
  int width_ = 0;  // columns of the terminal; 0: none
  std::chrono::steady_clock::time_point start_, last_draw_;
};

// Columns of the terminal that standard error reaches, also through a local mpirun; 0: it reaches none.
int terminal_width();
std::string bar_line(int width, int64_t done, int64_t total, const std::string& text);

}  // namespace viaduct
