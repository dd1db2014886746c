// Memory of one rank that the other ranks of its host can map. It has no name in any file system: it ends with the
// processes, however they end, and /dev/shm need not be large. Peers reach it as /proc/PID/fd/FD, which one user's
// processes may.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "core/device/buffer.hpp"

namespace viaduct {

// What a peer needs to know to map it.
struct PeerAddress {
  int32_t process = 0, file = -1;
  uint64_t token = 0;  // stands at the beginning of the memory: that the right one was opened
  int64_t bytes = 0;   // without the token's page
  bool operator==(const PeerAddress&) const = default;
};

// A mapping of such memory: one's own or a peer's.
class PeerMemory {
 public:
  // Empty if the system refuses (no memfd, other user, other process namespace).
  static std::optional<PeerMemory> make(int64_t bytes);
  static std::optional<PeerMemory> open(const PeerAddress&);
  PeerMemory(PeerMemory&& o) noexcept { swap(o); }
  PeerMemory& operator=(PeerMemory&& o) noexcept {
    PeerMemory taken(std::move(o));
    swap(taken);
    return *this;
  }
  ~PeerMemory();

  std::byte* data() const;
  const PeerAddress& address() const { return address_; }

 private:
  PeerMemory(void* base, PeerAddress address, bool owned) : base_(base), address_(address), owned_(owned) {}
  void swap(PeerMemory& o) noexcept {
    std::swap(base_, o.base_), std::swap(address_, o.address_), std::swap(owned_, o.owned_);
  }
  void* base_ = nullptr;
  PeerAddress address_;
  bool owned_ = false;
};

// The buffers that a communicator and its duplicates handed out.
class PeerBuffers : public std::enable_shared_from_this<PeerBuffers> {
 public:
  // Ordinary memory if the system refuses.
  Buffer allocate(Device, int64_t bytes);

  struct Place {
    PeerAddress memory;
    int64_t offset = 0;
  };
  // Where these bytes lie, if it is in one of the buffers.
  std::optional<Place> find(const void* data, int64_t bytes);

 private:
  void release(const std::byte* data);
  std::mutex mutex_;
  std::vector<PeerMemory> memories_;
};

}  // namespace viaduct
