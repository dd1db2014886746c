// Looks for what was not finite in a step, after it: no step pays for it.
#pragma once
#include "data/loader.hpp"
#include "train/engine.hpp"
#include "train/nonfinite.hpp"

namespace viaduct {

// Collective, while the weights and the gradients of step `step` (counted from 0) are still there. `ranks`: those whose
// loss was not finite. Their samples are read again and evaluated one by one, without dropout; where none is found
// alone, where the loss is of several together, and where only the gradient was not finite, all samples are named.
// Of tensors it knows the parameters, the loss and the gradients: not the activations. `loader`: what the training
// loader was given.
Nonfinite find_nonfinite(Engine&, DatasetPtr, LoaderOptions loader, int64_t step, const std::vector<int>& ranks,
                         Communicator&);

}  // namespace viaduct
