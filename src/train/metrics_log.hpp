// metrics.jsonl: one JSON object a line, for every logged step and every evaluation.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace viaduct {

struct StepMetrics {
  int64_t step = 0;                                                     // optimizer steps done
  double epoch = 0;                                                     // passes over the data done
  int64_t samples = 0;                                                  // seen since the run began
  double loss = 0;                                                      // mean over the global batch, before the update
  double lr = 0;                                                        // that the update used
  double grad_norm = 0;                                                 // before clipping
  double samples_per_second = 0;                                        // of all ranks, since the line before
  double data = 0, forward = 0, backward = 0, comm = 0, optimizer = 0;  // seconds of a step, on rank 0
};

class MetricsLog {
 public:
  // Opens for appending. Lines after `last_step` are cut off first: a resumed run says them again.
  MetricsLog(const std::string& path, int64_t last_step);
  ~MetricsLog();
  MetricsLog(const MetricsLog&) = delete;

  void write(const StepMetrics&);
  // {"step": .., "epoch": .., then the fields as they are}, such as eval_loss.
  void write(int64_t step, double epoch, const std::vector<std::pair<std::string, double>>& fields);
  void sync();  // to the disk: before a checkpoint counts as saved

 private:
  void append(const std::string& line);
  std::string path_;
  int file_ = -1;
};

}  // namespace viaduct
