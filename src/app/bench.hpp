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

// Collective; rank 0's row counts.
BenchRow bench_train(const Invocation&);
BenchRow bench_infer(const Invocation&);
BenchRow bench_loader(const Invocation&);

// Images to measure with: data.train, or else pictures drawn into memory as JPEG files, as large as photographs are.
DatasetPtr bench_images(const Config&, int64_t classes);

// The middle and the best of the seconds that steps took.
struct StepTimes {
  double median = 0, best = 0;
};
StepTimes step_times(std::vector<double> seconds);

}  // namespace viaduct::app
