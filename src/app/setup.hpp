// What commands that run a model begin with.
#pragma once
#include "app/commands.hpp"
#include "comm/threads.hpp"
#include "train/engine.hpp"

namespace viaduct::app {

// Threads of this rank: the host's cores shared by its ranks, or device.threads. Says which, and warns of a launch that
// wastes cores or GPUs.
ThreadShare settle(const Invocation&);
// The same without a word, with the GPUs of all ranks unless device.kind = cpu.
ThreadShare place_ranks(const Invocation&);

// The config with model.pretrained from the command's first subject, if there is one. Of a run folder also the task, the
// image pipeline, the length of texts, the batch size and the seed hold, unless they are given.
Config with_model(const Invocation&, const std::string& command);

}  // namespace viaduct::app
