// TensorBoard event files beside metrics.jsonl: what that says, and pictures with predictions. `tensorboard --logdir`
// with the folder of the runs shows them side by side.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "core/base/files.hpp"
#include "data/image.hpp"
#include "train/metrics_log.hpp"

namespace viaduct {

// A picture as a JPEG file, and what the model says of it.
struct PredictedPicture {
  int height = 0, width = 0;
  std::vector<uint8_t> file;
  std::string id, truth, prediction;
  double score = 0;
};

class TensorBoard final : public Observer {
 public:
  // A new file of the folder, after those that are there. It begins by saying at which step (SessionLog START), upon
  // which a TensorBoard that has read more of an earlier part of the run forgets that.
  TensorBoard(const Path& folder, int64_t start_step, int64_t log_every);
  // Cuts what event files there say of later steps than `last_step`, and torn ends: a resumed run says it again. Other
  // readers than TensorBoard would see it twice.
  static void cut(const Path& folder, int64_t last_step);

  void stepped(const StepReport&) override;
  void evaluated(int64_t step, double epoch, const std::map<std::string, double>& metrics) override;
  void saved(int64_t step, const std::string& folder) override;
  // What every evaluation adds.
  using Predict = std::function<std::vector<PredictedPicture>()>;
  void show(Predict predict) { predict_ = std::move(predict); }

 private:
  FileAppender file_;
  int64_t log_every_;
  StepWindow window_;
  Predict predict_;
};

}  // namespace viaduct
