// What [train] makes of the learning rate: its multiple for the number of ranks, and its part for every layer.
#pragma once
#include <functional>
#include <string>

#include "core/nn/parameter.hpp"
#include "train/config.hpp"

namespace viaduct {

// train.lr, for a run that began with so many ranks: times ranks (linear; Goyal et al. 2017, "Accurate, Large Minibatch
// SGD"), their square root (sqrt; Krizhevsky 2014), or as it is. The global batch grows with the ranks, and that is why.
double scaled_learning_rate(const Config&, int64_t ranks);
std::string learning_rate_words(const Config&, double scaled);  // "0.0001, train.lr = 5e-05 times 2 (linear)"

// Layer-wise decay as in BEiT (Bao et al. 2022, and timm's port): of a tower of n layers the embeddings have level 0,
// layer i, counted from 0, level i + 1, all that comes above them (the last norm, heads, BridgeTower's bridges and
// cross-modal layers) level n + 1; the rate of level l is decay^(n + 1 - l).
std::function<double(const Parameter&)> layer_rates(const ParameterStore&, double decay);

}  // namespace viaduct
