// train.batch_size = auto.
#pragma once
#include "train/checkpoint.hpp"
#include "train/engine.hpp"

namespace viaduct {

// The largest batch whose training plan for that rank takes nine tenths of `bytes`; the rest is for what no plan knows:
// libraries, decoders, threads. 0: not even one sample fits.
int64_t largest_planned_batch(const Config&, const ModelSource&, Device::Kind, int rank, int ranks, int64_t bytes);

// Collective. Where train.batch_size is auto it becomes that of the rank with the least memory, but no more than an
// epoch's `samples` need; of a run that goes on what it was, for the number of ranks that there are now.
void settle_batch_size(Config&, const ModelSource&, int64_t samples, const std::optional<Checkpoint>&, Communicator&);

}  // namespace viaduct
