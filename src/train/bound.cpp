#include "train/bound.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <sstream>

namespace viaduct {
namespace {

constexpr double kBounds = 0.1;  // of a step

// Seconds of a step that would be gone, and the words for it.
struct Loss {
  double seconds = 0;
  std::string what, remedy;
};

// Where data bounds a step, its workers need the whole step for its images; the rest of the step is what may hide them.
std::string data_remedy(const RankTimes& rank, int workers) {
  const double rest = std::max(rank.step - rank.data, 1e-3 * rank.step);
  const double work = workers > 0 ? workers * rank.step : rank.data;
  const int wanted = std::max(int(std::ceil(work / rest)), workers + 1);
  return fmt::format(
      "try data.workers = {} (now {}) if the cores are there, else smaller files; viaduct bench loader measures both",
      wanted, workers);
}

Loss data_loss(const std::vector<RankTimes>& ranks, int workers) {
  auto worst = std::max_element(ranks.begin(), ranks.end(), [](auto& a, auto& b) { return a.data < b.data; });
  const std::string who =
      ranks.size() > 1 ? fmt::format(" (rank {}, for which the others wait)", worst - ranks.begin()) : "";
  return {worst->data, "waiting for images" + who, data_remedy(*worst, workers)};
}

std::string comm_remedy(const Config& config) {
  const ParallelSection& parallel = config.parallel;
  std::vector<std::string> tries;
  if (parallel.strategy == "fast_ddp") tries.push_back("parallel.strategy = ddp, which hides it behind backward");
  if (parallel.strategy == "zero2" && config.train.accumulate > 1)
    tries.push_back("parallel.strategy = zero1, which does not communicate in every pass");
  if (parallel.wire == "fp32" && parallel.reduction == "fast") tries.push_back("parallel.wire = bf16, half the bytes");
  tries.push_back(fmt::format("train.accumulate = {}, if the global batch may double", 2 * config.train.accumulate));
  return fmt::format("try {}", fmt::join(tries, "; or "));
}

Loss comm_loss(const std::vector<RankTimes>& ranks, const Config& config) {
  auto least = std::min_element(ranks.begin(), ranks.end(), [](auto& a, auto& b) { return a.comm < b.comm; });
  return {least->comm, "communication that backward does not hide", comm_remedy(config)};
}

// What is beyond the wait for a rank's data, which is the data's.
Loss straggler_loss(const std::vector<RankTimes>& ranks) {
  auto [slow, patient] =
      std::minmax_element(ranks.begin(), ranks.end(), [](auto& a, auto& b) { return a.comm < b.comm; });
  const double waited = patient->comm - slow->comm - std::max(slow->data - patient->data, 0.0);
  return {waited, fmt::format("waiting for rank {}, the slowest", slow - ranks.begin()),
          "look at its host and its cores (mpirun viaduct doctor compares the ranks)"};
}

Loss optimizer_loss(const std::vector<RankTimes>& ranks, const Config& config) {
  double seconds = 0;
  for (const RankTimes& rank : ranks) seconds = std::max(seconds, rank.optimizer);
  const bool whole = config.parallel.strategy == "ddp" || config.parallel.strategy == "fast_ddp";
  return {seconds, "the optimizer",
          fmt::format("try {}a larger train.batch_size or train.accumulate, if the global batch may grow",
                      whole && ranks.size() > 1
                          ? fmt::format("parallel.strategy = zero1, which does 1/{} of it on a rank; or ", ranks.size())
                          : "")};
}

// On GPUs the exchange of gradients is part of their work and not told apart.
std::string compute_line(const RankTimes& rank, const Config& config, bool on_gpu, bool alone) {
  std::vector<std::string> tries;
  if (config.train.recompute)
    tries.push_back("train.recompute = false, if the memory is there, does a quarter less work");
  if (config.train.precision == "fp32")
    tries.push_back(on_gpu ? "train.precision = bf16" : "train.precision = bf16, on processors with AMX");
  tries.push_back("more ranks");
  const bool mixed = on_gpu && !alone;
  return fmt::format("bound by {} ({:.0f} % of a step){}; to be faster: {}",
                     mixed    ? "the work of the GPUs and the exchange of gradients between them"
                     : on_gpu ? "the GPU's work"
                              : "the arithmetic of forward and backward",
                     100 * rank.compute / rank.step, mixed ? "" : ", as it should be", fmt::join(tries, "; or "));
}

}  // namespace

std::string RankTimes::text() const { return fmt::format("{} {} {} {} {}", step, data, compute, comm, optimizer); }

RankTimes RankTimes::parse(const std::string& text) {
  RankTimes t;
  std::istringstream(text) >> t.step >> t.data >> t.compute >> t.comm >> t.optimizer;
  return t;
}

RankTimes RankTimes::of(const StepTimes& times) {
  return {.step = times.mean("step"),
          .data = times.mean("data"),
          .compute = times.mean("forward") + times.mean("backward") + times.mean("device"),
          .comm = times.mean("comm"),
          .optimizer = times.mean("optimizer")};
}

std::string what_bounds(const std::vector<RankTimes>& ranks, const Config& config, int workers, bool on_gpu) {
  std::vector<Loss> losses{data_loss(ranks, workers), comm_loss(ranks, config), straggler_loss(ranks),
                           optimizer_loss(ranks, config)};
  auto most = std::max_element(losses.begin(), losses.end(), [](auto& a, auto& b) { return a.seconds < b.seconds; });
  const double step = ranks[0].step, share = most->seconds / step;
  if (!(share >= kBounds)) return compute_line(ranks[0], config, on_gpu, ranks.size() == 1);
  return fmt::format("bound by {}: {:.0f} % of a step, without which it would be {:.1f} times as fast; {}", most->what,
                     100 * share, 1 / std::max(1 - share, 0.01), most->remedy);
}

}  // namespace viaduct
