#include "comm/shards.hpp"

#include <algorithm>

#include "core/ops/update.hpp"

namespace viaduct {

std::vector<Range> make_shards(Range whole, int ranks) {
  const int64_t size = ceil_div(ceil_div(whole.size(), ops::kNormChunk), ranks) * ops::kNormChunk;
  std::vector<Range> shards;
  for (int64_t r = 0; r < ranks; ++r)
    shards.push_back({std::min(whole.end, whole.begin + r * size), std::min(whole.end, whole.begin + (r + 1) * size)});
  return shards;
}

std::vector<Range> within(const std::vector<Range>& shards, Range window) {
  std::vector<Range> parts;
  for (Range shard : shards)
    parts.push_back({std::clamp(shard.begin, window.begin, window.end) - window.begin,
                     std::clamp(shard.end, window.begin, window.end) - window.begin});
  return parts;
}

bool divides_optimizer(const std::string& strategy) { return strategy == "zero1" || strategy == "zero2"; }
bool divides_gradients(const std::string& strategy) { return strategy == "zero2"; }

Range optimizer_range(const std::string& strategy, Range whole, int rank, int ranks) {
  return divides_optimizer(strategy) ? make_shards(whole, ranks)[size_t(rank)] : whole;
}

}  // namespace viaduct
