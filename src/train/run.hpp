// A training run from its configuration to the model folder it leaves: what `viaduct train` does.
#pragma once
#include "comm/communicator.hpp"
#include "train/config.hpp"

namespace viaduct {

// Collective. Returns Exit::ok when all the steps that were asked for are done, Exit::preempted when the ranks agreed
// to stop and the state is saved.
Exit run_training(const Config&, Communicator&);

}  // namespace viaduct
