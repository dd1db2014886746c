// What a run says of itself before its first step and after its last.
#pragma once
#include "data/sampler.hpp"
#include "train/engine.hpp"
#include "train/totals.hpp"

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

// Collective: whom the others waited for, if that was a fifth of the time.
void say_slowest(const Totals&, Communicator&);

}  // namespace viaduct
