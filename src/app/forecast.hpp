// How training scales: the formulas of docs/scaling.md.
#pragma once
#include <string>
#include <vector>

#include "train/config.hpp"

namespace viaduct::app {

// A straight line through measured collectives of `ranks` ranks of one host: seconds = latency + bytes * per_byte.
struct HostLink {
  double latency = 0, per_byte = 0;
  int ranks = 2;
};
struct Timed {
  double bytes = 0, seconds = 0;
};
// The line with the smallest sum of squared relative errors; neither number is below 0.
HostLink fit_link(const std::vector<Timed>&, int ranks);

struct Cluster {
  HostLink link;
  int ranks_per_host = 0;  // 0: all ranks on one host
  double cores = 1;        // of a host
  double network_latency = 0, network_per_byte = 0;
};

// One rank's step, measured: seconds and what there is to exchange.
struct MeasuredStep {
  double data = 0, forward = 0, backward = 0, optimizer = 0;
  double threads = 1;         // that it used
  double gradient_bytes = 0;  // on the wire
  double value_bytes = 0;     // of parameters as they travel after a divided update
  double bucket_bytes = 25e6;
  int accumulate = 1;
  bool gpu = false;
};

struct Forecast {
  double seconds = 0, exposed = 0;  // of a step; exposed: communication among them
};
double all_reduce_seconds(const Cluster&, int ranks, double bytes);
// strategy: as parallel.strategy.
Forecast forecast(const MeasuredStep&, const Cluster&, const std::string& strategy, int ranks);

std::vector<int64_t> planned_ranks(const Config&);  // plan.ranks
// The table: for every strategy and number of ranks, beside it what plan.measured has of the same.
void print_forecast(const Config&, const std::vector<int64_t>& ranks, double trained_parameters);

}  // namespace viaduct::app
