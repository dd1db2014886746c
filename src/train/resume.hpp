// Whether a checkpoint may be gone on with: what the data are, and what else must be as it was.
#pragma once
#include <optional>
#include <string>

#include "comm/communicator.hpp"
#include "data/dataset.hpp"
#include "train/checkpoint.hpp"
#include "train/config.hpp"

namespace viaduct {

// "2400 images of 12 classes, xxh3 ..", the hash over ids, labels and class names: the contents of the files are not
// in it.
std::string describe_data(const Dataset&);

// Collective: each rank lists the folders by itself, and an input error says where they see something else.
void agree_on_data(const TrainEval&, Communicator&);

// Collective: the checkpoint that run.resume names, the same on every rank; absent: the run begins anew.
std::optional<Checkpoint> checkpoint_to_resume(const Config&, Communicator&);

// Throws a configuration error that names the first difference. `mine`: the state of the run that would go on.
void check_resumable(const Checkpoint&, const RunState& mine);

}  // namespace viaduct
