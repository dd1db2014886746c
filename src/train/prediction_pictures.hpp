// A few held-out pictures, spread over the data, and what the model says of them while it learns.
#pragma once
#include "train/engine.hpp"
#include "train/tensorboard.hpp"

namespace viaduct {

class PredictionPictures {
 public:
  static bool can(const TaskChoice&);  // a model of hidden words says nothing of a picture
  // Of one rank; no more of them than train.batch_size. They are read now.
  PredictionPictures(Engine&, const Config&, DatasetPtr held_out, const Communicator&);
  // As the model sees them, in a frame: green where it is right, red where it is not.
  std::vector<PredictedPicture> predict();

 private:
  PredictedPicture predicted(int64_t b, const float* row, int64_t columns) const;
  Engine& engine_;
  DatasetPtr data_;
  Batch batch_;
};

}  // namespace viaduct
