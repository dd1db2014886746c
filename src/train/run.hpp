// A training run from its configuration to the model folder it leaves: what `viaduct train` does.
#pragma once
#include <functional>

#include "comm/communicator.hpp"
#include "train/config.hpp"

namespace viaduct {

// Collective. Returns Exit::ok when all the steps that were asked for are done, Exit::preempted when the ranks agreed
// to stop and the state is saved. `accepted` is called on rank 0 before the first step, once no rank can refuse the
// configuration or the checkpoint any more, with what the model's config.json adds to the configuration: until then the
// record of an earlier part of the run stays as it is.
using Accepted = std::function<void(const Config&)>;
Exit run_training(const Config&, Communicator&, const Accepted& accepted = {});

}  // namespace viaduct
