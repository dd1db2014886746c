// What bounds a run: the part of a step whose end would gain most, and the setting that works on it.
#pragma once
#include <string>
#include <vector>

#include "train/config.hpp"
#include "train/step_times.hpp"

namespace viaduct {

// Mean seconds of a rank's steps. comm: what backward did not hide, which is also where a rank waits for slower ones.
struct RankTimes {
  double step = 0, data = 0, compute = 0, comm = 0, optimizer = 0;  // compute: forward and backward, or the device
  std::string text() const;                                         // for the other ranks
  static RankTimes parse(const std::string&);
  static RankTimes of(const StepTimes&);
};

// One sentence. A part that takes less than a tenth of a step does not bound it: without it, a run would be
// less than 1.11 times as fast. Waiting for data counts where it is longest, because the other ranks then wait for that
// one; waiting for a rank is what the most patient rank waits longer than the least.
// `workers`: the decoding threads of a rank.
std::string what_bounds(const std::vector<RankTimes>&, const Config&, int workers, bool on_gpu);

}  // namespace viaduct
