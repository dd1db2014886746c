#include "app/forecast.hpp"

#include <algorithm>
#include <cmath>

namespace viaduct::app {
namespace {

// Seconds of `count` collectives, each ready a step of `hidden / count` after the one before, that are not over when
// the work of `hidden` seconds is. The last is ready only then.
double beyond(double each, double count, double hidden) {
  return std::max(each, count * each - hidden * (count - 1) / count);
}

}  // namespace

// With weights 1 / seconds^2, of the normal equations of (latency, per_byte).
HostLink fit_link(const std::vector<Timed>& timed, int ranks) {
  double w = 0, wx = 0, wxx = 0, wy = 0, wxy = 0;
  for (const Timed& t : timed) {
    const double weight = 1 / (t.seconds * t.seconds);
    w += weight, wx += weight * t.bytes, wxx += weight * t.bytes * t.bytes;
    wy += weight * t.seconds, wxy += weight * t.bytes * t.seconds;
  }
  const double determinant = w * wxx - wx * wx;
  HostLink link{.ranks = ranks};
  if (determinant > 0) link.per_byte = (w * wxy - wx * wy) / determinant;
  link.per_byte = std::max(link.per_byte, 0.0);
  link.latency = (wy - link.per_byte * wx) / w;
  if (link.latency < 0) link.latency = 0, link.per_byte = wxy / wxx;
  return link;
}

double all_reduce_seconds(const Cluster& cluster, int ranks, double bytes) {
  const int on_host = cluster.ranks_per_host > 0 ? std::min(ranks, cluster.ranks_per_host) : ranks;
  const double hosts = std::ceil(double(ranks) / on_host);
  double seconds = 0;
  if (on_host > 1)
    seconds += cluster.link.latency * (on_host - 1) / (cluster.link.ranks - 1) +
               bytes * cluster.link.per_byte * on_host / cluster.link.ranks;
  if (hosts > 1)
    seconds += 2 * (hosts - 1) * cluster.network_latency + 2 * (hosts - 1) / hosts * bytes * cluster.network_per_byte;
  return seconds;
}

Forecast forecast(const MeasuredStep& step, const Cluster& cluster, const std::string& strategy, int ranks) {
  const int on_host = cluster.ranks_per_host > 0 ? std::min(ranks, cluster.ranks_per_host) : ranks;
  const double crowd = step.gpu ? 1 : std::max(1.0, on_host * step.threads / cluster.cores);
  const bool hides = step.gpu || cluster.cores >= on_host * (step.threads + 1);
  const bool divided = strategy == "zero1" || strategy == "zero2";
  const double forward = crowd * step.forward / step.accumulate, backward = crowd * step.backward / step.accumulate;
  const double optimizer = crowd * step.optimizer / (divided ? ranks : 1);
  Forecast f;
  if (ranks > 1) {
    const double buckets = strategy == "fast_ddp" ? 1 : std::ceil(step.gradient_bytes / step.bucket_bytes);
    auto part = [&](double bytes, double count, double hidden) {  // divided: half of an all-reduce each way
      const double each = all_reduce_seconds(cluster, ranks, bytes / count) / (divided ? 2 : 1);
      return beyond(each, count, hides && strategy != "fast_ddp" ? hidden : 0);
    };
    f.exposed = part(step.gradient_bytes, buckets, backward);
    if (divided) f.exposed += part(step.value_bytes, buckets, forward);
    if (strategy == "zero2") f.exposed += (step.accumulate - 1) * part(step.gradient_bytes, buckets, backward);
  }
  f.seconds = crowd * step.data + step.accumulate * (forward + backward) + optimizer + f.exposed;
  return f;
}

}  // namespace viaduct::app
