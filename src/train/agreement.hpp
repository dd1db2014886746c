// What every rank must have alike before anything can hang on it: the program, its libraries, the configuration, the
// collectives of a step; and what every rank reads by itself from files of its host.
#pragma once
#include "comm/communicator.hpp"
#include "train/config.hpp"
#include "train/model_source.hpp"

namespace viaduct {

// Collective: the configuration, the image processor's and the tokenizer's files. An input error names the first file
// that differs from rank 0's and the ranks where it does.
void agree_on_model(const ModelSource&, Communicator&);

// Collective. `entries`: what this rank is going by, in order. A config error names the first that differs, what the ranks
// have there and which.
void agree_on(const std::string& what, const std::vector<std::string>& entries, Communicator&);

// The program, the libraries that it has loaded, and every value of the configuration that is not a path (hosts may mount
// the same files elsewhere; what is in them is compared when it has been read) nor of this host alone.
std::vector<std::string> described_run(const Config&);

}  // namespace viaduct
