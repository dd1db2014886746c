// What evaluations decide: whether there is a new best, and whether the run is to end early.
#pragma once
#include <map>

#include "comm/communicator.hpp"
#include "train/checkpoint.hpp"
#include "train/config.hpp"
#include "train/early_stopping.hpp"

namespace viaduct {

class Evaluations {
 public:
  // `data`: what is evaluated, in words; empty: nothing is.
  Evaluations(const Config&, const std::string& data);

  // Collective: what rank 0 has measured counts on every rank, so that all decide the same.
  void add(int64_t step, const std::map<std::string, double>& metrics, Communicator&);
  int64_t last_step() const { return last_step_; }  // of an evaluation; 0: none yet
  bool improved() const { return improved_; }       // at the last one, by run.best
  // Of the last one, if run.best has a finite value there.
  std::optional<Score> score() const;
  const std::string& reason_to_stop() const { return stopping_.reason(); }

  void save(RunState&) const;
  void restore(const RunState&);

 private:
  std::string metric_;   // run.best
  bool smaller_;         // values of it are better
  std::string best_of_;  // the metric and its data
  EarlyStopping stopping_;
  double last_ = std::nan(""), best_ = std::nan("");
  int64_t last_step_ = 0;
  bool improved_ = false;
};

}  // namespace viaduct
