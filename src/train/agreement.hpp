// What every rank reads by itself from files of its host, and must find alike.
#pragma once
#include "comm/communicator.hpp"
#include "train/model_source.hpp"

namespace viaduct {

// Collective: the configuration, the image processor's and the tokenizer's files. An input error names the first file
// that differs from rank 0's and the ranks where it does.
void agree_on_model(const ModelSource&, Communicator&);

}  // namespace viaduct
