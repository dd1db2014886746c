// Reads, decodes and collates micro-batches, in the calling thread or ahead of it in worker threads. The batches are
// the same, bit for bit, whatever the number of workers.
#pragma once
#include <map>
#include <memory>

#include "data/batch.hpp"
#include "data/dataset.hpp"
#include "data/image_pipeline.hpp"
#include "data/mixing.hpp"
#include "data/sampler.hpp"
#include "data/text_batch.hpp"

namespace viaduct {

enum class Pass {
  training,    // endless; an unreadable sample is replaced, so that batches keep their size
  evaluation,  // every sample once over all ranks, in order, a contiguous slice per rank; an unreadable one is dropped
};

struct LoaderOptions {
  Pass pass = Pass::training;
  int64_t batch_size = 8, accumulate = 1;  // accumulate: micro-batches of this rank in one step (training)
  int64_t rank = 0, ranks = 1;
  uint64_t seed = 42;
  bool shuffle = true;  // training only
  ImageProcessor processor;
  Augment augment = Augment::none;
  double random_erasing = 0;  // training only
  MixOptions mix;             // training only, of data with labels
  TextOptions text;
  Device device = Device::cpu();   // where batches go: their memory is made near it
  int workers = 0;                 // 0: in the calling thread
  int prefetch = 2;                // batches ready or in preparation beyond the one in use
  int64_t quarantine_budget = -1;  // different unreadable samples that a rank tolerates; -1: 1 % of all, at least 10
};

// data.workers = auto: enough to hide decoding behind the step without taking the cores from it.
int automatic_workers(int cores_of_this_rank);

// Batches whose memory a loader holds at most, the one in use included.
int64_t batches_held(int workers, int prefetch = LoaderOptions{}.prefetch);
int64_t batch_bytes(const LoaderOptions&);  // of one of them, at most

class Loader {
 public:
  // In training the first batch is micro-batch 0 of `start_step`, an index over all epochs.
  Loader(DatasetPtr, LoaderOptions, int64_t start_step = 0);
  ~Loader();

  const BatchPlan& plan() const;
  bool done() const;  // an evaluation has handed out its last batch; training never ends
  // The next micro-batch. In training it may hold no sample (a trailing rank of a short last step); in evaluation it
  // may hold fewer than batch_size, or none where all were unreadable.
  Batch next();
  void restart();  // a finished evaluation begins again; what could not be read is not named a second time

  double seconds_waiting() const;                             // spent inside next() so far
  const std::map<int64_t, Quarantined>& quarantined() const;  // by sample, over the loader's life

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace viaduct
