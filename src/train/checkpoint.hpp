// Checkpoints: everything that a run needs to go on bit for bit, as safetensors and JSON. No string in one selects code
// or a path.
//
//   checkpoints/step-00000120/   weights.safetensors          fp32 masters, by parameter name, full tensors whatever
//                                                             the number of ranks, frozen ones included
//                                adam_m / adam_v.safetensors   the moments, of what is trained
//                                average.safetensors          the moving average of what is trained, if there is one
//                                state.json                   where the run stands
//                                manifest.json                sizes and hashes of the others; written last
//   checkpoints/best             the best ones, a line each, the best first: name, value, of which metric and data
//
// A checkpoint gets its name only when all of it is on the disk.
#pragma once
#include <cstdint>
#include <optional>

#include "core/base/files.hpp"
#include "core/nn/parameter.hpp"
#include "train/run_state.hpp"

namespace viaduct {

// The flat fp32 buffers of an optimizer: element 0 is element range.begin of the store's.
struct OptimizerTensors {
  Range range;
  Tensor master, m, v;
  Tensor frozen{};   // the store's frozen range; absent when nothing is frozen
  Tensor average{};  // as master; absent when there is none
};

// The same of whole parameters, as a checkpoint is written: each asked for every parameter it is about, in order.
struct CheckpointValues {
  ValuesOf master, m, v, average{};  // average: empty when there is none
};

// What an evaluation at the step of a checkpoint has found.
struct Score {
  double value = 0;     // finite
  bool smaller = true;  // is better
  std::string of;       // the metric and the data, in words: others cannot be compared
};

struct Retention {
  int64_t last = 2;  // the newest ones kept; 0: all
  int64_t best = 1;  // those with the best scores, kept beside them
};

// Saves under `folder` ("checkpoints"); one process does. Older ones go once the new one is safe; those of later steps
// are set aside as abandoned-step-*, because the run was resumed from before them.
Path save_checkpoint(const Path& folder, int64_t step, const RunState&, const ParameterStore&, const CheckpointValues&,
                     const std::optional<Score>&, Retention = {});

struct Checkpoint {
  Path path;
  int64_t step = 0;
  RunState state;
};
// Verifies sizes and hashes; an input error says what is wrong.
Checkpoint open_checkpoint(const Path&);
// The newest that verifies; for each damaged one before it a warning. None when there is none at all; an error when all
// that there are are damaged.
std::optional<Checkpoint> find_latest_checkpoint(const Path& folder);
std::vector<Path> best_checkpoints(const Path& folder);  // the best first; those that are still there

// Reads what falls into `tensors.range`, any part of the store; a moment that is absent is left out (weights alone).
// Rounding the masters into a bf16 store is the optimizer's (values_from_master).
void load_checkpoint(const Path&, const ParameterStore&, const OptimizerTensors&);

}  // namespace viaduct
