// How something flat is divided among the ranks.
#pragma once
#include <string>
#include <vector>

#include "core/base/range.hpp"

namespace viaduct {

// One range a rank, in order, cut at multiples of ops::kNormChunk from the beginning, so that chunks of the gradient
// norm are whole and the first ranks have the most. Where there are fewer chunks than ranks the last get none.
std::vector<Range> make_shards(Range whole, int ranks);

// What falls of each shard into `window`, counted from its beginning.
std::vector<Range> within(const std::vector<Range>& shards, Range window);

// Whether a strategy divides the optimizer, or the gradients, among the ranks, and the range that a rank's optimizer has.
bool divides_optimizer(const std::string& strategy);
bool divides_gradients(const std::string& strategy);
Range optimizer_range(const std::string& strategy, Range whole, int rank, int ranks);

}  // namespace viaduct
