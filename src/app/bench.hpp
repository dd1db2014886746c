// Benchmarks of whole passes: one row of numbers each, printed as a table and written as JSON.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "app/setup.hpp"

namespace viaduct::app {

struct BenchRow {
  std::vector<std::pair<std::string, std::string>> settings;  // what was measured
  std::vector<std::pair<std::string, double>> values;         // in SI units; shares are fractions
};

// Collective; rank 0's rows count.
std::vector<BenchRow> bench_comm(const Invocation&);
BenchRow bench_train(const Invocation&);
BenchRow bench_infer(const Invocation&);
BenchRow bench_loader(const Invocation&);

// What is measured: a model and its data, data.train or else pictures drawn into memory as JPEG files, as large as
// photographs are, for an image-text model each with a text that is longer than the model takes.
struct BenchSubject {
  BenchSubject(const Config&, Communicator&);  // collective
  Config config;                               // with a tokenizer, where none was given
  ModelSource source;
  DatasetPtr data;
  TextSizes texts;
};

// The middle and the best of the seconds that steps took.
struct StepTimes {
  double median = 0, best = 0;
};
StepTimes step_times(std::vector<double> seconds);

}  // namespace viaduct::app
