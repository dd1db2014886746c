// Work that is done again and again with the same shapes and addresses. On a cuda device its first run is eager, the second
// is recorded as a CUDA graph, and from then on the graph is launched: one call for a whole step (rule R4). The same bits
// either way.
#pragma once
#include <functional>
#include <map>
#include <string>

#include "core/device/stream.hpp"

namespace viaduct {

class Replay {
 public:
  explicit Replay(bool enabled) : enabled_(enabled) {}
  Replay(const Replay&) = delete;
  ~Replay();
  // `key` says what makes runs alike. While recording, `work` may neither wait for the device nor allocate memory.
  void run(const std::string& key, Stream&, const std::function<void()>& work);
  int64_t recorded() const;  // graphs

 private:
  struct Entry {
    int64_t runs = 0;
    void* graph = nullptr;
  };
  bool enabled_;
  std::map<std::string, Entry> entries_;
};

}  // namespace viaduct
