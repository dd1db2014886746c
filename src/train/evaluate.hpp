// Evaluation: every sample once over all ranks, averages of sums.
#pragma once
#include "core/ops/workspace.hpp"
#include "data/loader.hpp"
#include "train/batch_upload.hpp"
#include "train/task.hpp"

namespace viaduct {

// Adds eval_runtime (seconds), eval_samples_per_second and, where samples could not be read, eval_quarantined.
std::map<std::string, double> evaluate(Task&, Workspace&, BatchUpload&, Loader&, Communicator&);

}  // namespace viaduct
