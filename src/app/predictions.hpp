// What predict writes of a batch: one line of JSON per sample, by task.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "data/dataset.hpp"
#include "train/engine.hpp"

namespace viaduct::app {

class Predictions {
 public:
  Predictions(Engine&, DatasetPtr, const PredictSection&);
  // Lines in order of the samples, those of unreadable images among them.
  std::string lines(const Batch&);
  // itc, collective: all vectors to one file, where that was asked for.
  void write_embeddings(Communicator&) const;

 private:
  std::string image_line(int64_t sample, const float* logits) const;
  std::string pair_line(int64_t sample, const float* logits) const;
  std::string similarity_line(int64_t sample, const float* vectors, int64_t width);
  std::string line_of(int64_t sample, const float* row, int64_t columns);

  Engine& engine_;
  DatasetPtr data_;
  PredictSection wanted_;
  std::map<int64_t, std::vector<float>> embeddings_;  // by sample: of its text, then of its image
};

// After the lines were written: the page and, on the terminal, the table of the first pairs.
void show_pairs(const PredictSection&, const Dataset&, const std::string& title);

}  // namespace viaduct::app
