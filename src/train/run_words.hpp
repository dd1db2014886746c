// What a run says of itself before its first step.
#pragma once
#include "data/sampler.hpp"
#include "train/engine.hpp"

namespace viaduct {

struct RunWords {
  const Config& config;
  Engine& engine;
  const TrainEval& data;
  const TextSizes& texts;  // of data.train
  const BatchPlan& batches;
  int64_t total_steps;
  double learning_rate;
  Communicator& comm;
};
void say_plan(const RunWords&);

}  // namespace viaduct
