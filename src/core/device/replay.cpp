#include "core/device/replay.hpp"

#include <algorithm>

#include "core/device/cuda/runtime.hpp"

namespace viaduct {

void Replay::run(const std::string& key, Stream& stream, const std::function<void()>& work) {
  if constexpr (!cuda::kBuilt) {
    work();
  } else {
    if (!enabled_ || !stream.device().is_cuda()) return work();
    Entry& entry = entries_[key];
    if (entry.runs++ == 0) return work();
    if (!entry.graph) entry.graph = cuda::record(stream.native(), work);
    cuda::launch(entry.graph, stream.native());
  }
}

Replay::~Replay() {
  if constexpr (cuda::kBuilt)
    for (auto& [key, entry] : entries_)
      if (entry.graph) cuda::delete_graph(entry.graph);
}

int64_t Replay::recorded() const {
  return std::count_if(entries_.begin(), entries_.end(), [](const auto& e) { return e.second.graph != nullptr; });
}

}  // namespace viaduct
