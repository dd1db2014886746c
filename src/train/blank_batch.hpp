// A batch of the right shapes and no content: what a plan is made with.
#pragma once
#include "data/batch.hpp"

namespace viaduct {

// With labels, of mixed images where `mixes`; with text_tokens > 0 also with every tensor that a loss over texts of that length may want.
Batch blank_batch(Device, int64_t samples, int64_t image_size, int64_t text_tokens = 0, bool mixes = false);

}  // namespace viaduct
