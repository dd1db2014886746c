#pragma once
#include "comm/communicator.hpp"
#include "train/config.hpp"

namespace viaduct {

// Where this rank computes: device.kind, of which auto is a GPU where this program and this host have one, and the CPU
// otherwise, or where [parallel] asks of training what is done in host memory only. Throws a sentence where cuda is asked
// for and cannot be had.
// Collective. Every rank has a GPU of its own, or all compute on the CPU.
Device choose_device(const Config&, Communicator&, bool training);

std::string describe(Device);  // "cuda: NVIDIA H100 80GB HBM3, 79.2 GB", "cpu"

}  // namespace viaduct
