// Checkpoints: everything that a run needs to go on bit for bit, as safetensors and JSON. No string in one selects code
// or a path.
//
//   checkpoints/step-00000120/   weights.safetensors          fp32 masters, by parameter name, full tensors whatever
//                                                             the number of ranks, frozen ones included
//                                adam_m / adam_v.safetensors   the moments, of what is trained
//                                state.json                   where the run stands
//                                manifest.json                sizes and hashes of the others; written last
//   checkpoints/best             the name of the best one
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
  Tensor frozen{};  // the store's frozen range; absent when nothing is frozen
};

// The same of whole parameters, as a checkpoint is written: each asked for every parameter it is about, in order.
struct CheckpointValues {
  ValuesOf master, m, v;
};

struct Retention {
  int64_t last = 2;  // the newest ones kept, beside the best
};

// Saves under `folder` ("checkpoints"); one process does. Older ones go once the new one is safe; those of later steps
// are set aside as abandoned-step-*, because the run was resumed from before them.
Path save_checkpoint(const Path& folder, int64_t step, const RunState&, const ParameterStore&, const CheckpointValues&,
                     bool is_best, Retention = {});

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
std::optional<Path> best_checkpoint(const Path& folder);

// Reads what falls into `tensors.range`, any part of the store; a moment that is absent is left out (weights alone).
// Rounding the masters into a bf16 store is the optimizer's (values_from_master).
void load_checkpoint(const Path&, const ParameterStore&, const OptimizerTensors&);

}  // namespace viaduct
