// What commands that run a model begin with.
#pragma once
#include "app/commands.hpp"
#include "comm/threads.hpp"
#include "data/loader.hpp"
#include "train/engine.hpp"

namespace viaduct::app {

// Threads of this rank: the host's cores shared by its ranks, or device.threads.
ThreadShare settle(const Invocation&);

// The config with model.pretrained from the command's first subject, if there is one; of a run folder, its model/.
Config with_model(const Invocation&, const std::string& command);

// Every sample once over all ranks; no sample is too many to be unreadable.
LoaderOptions evaluation_loader(const Invocation&, const Engine&, const ThreadShare&, int64_t samples);

}  // namespace viaduct::app
