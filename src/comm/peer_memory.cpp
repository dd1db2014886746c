#include "comm/peer_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <random>

#include "comm/direct_reduce.hpp"
#include "core/base/log.hpp"

namespace viaduct {
namespace {

constexpr int64_t kHeader = 4096;  // the token's page; the data behind it stays aligned

void* map(int file, int64_t bytes) {
  void* base = ::mmap(nullptr, size_t(bytes + kHeader), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (base == MAP_FAILED) return nullptr;
  ::madvise(base, size_t(bytes + kHeader), MADV_HUGEPAGE);  // a hint: taken where huge shared pages are enabled
  return base;
}

uint64_t new_token() {
  std::random_device random;
  return uint64_t(random()) << 32 | random();
}

}  // namespace

std::optional<PeerMemory> PeerMemory::make(int64_t bytes) {
  PeerAddress address{::getpid(), ::memfd_create("viaduct", MFD_CLOEXEC), new_token(), bytes};
  if (address.file < 0) return {};
  // Reserved now: a page that cannot be had later would be a SIGBUS in the middle of a step.
  void* base = ::posix_fallocate(address.file, 0, bytes + kHeader) == 0 ? map(address.file, bytes) : nullptr;
  if (!base) {
    ::close(address.file);
    return {};
  }
  *static_cast<uint64_t*>(base) = address.token;
  return PeerMemory(base, address, true);
}

std::optional<PeerMemory> PeerMemory::open(const PeerAddress& address) {
  const std::string path = fmt::format("/proc/{}/fd/{}", address.process, address.file);
  const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) return {};
  struct stat status {};
  const bool whole = ::fstat(file, &status) == 0 && status.st_size == address.bytes + kHeader;
  void* base = whole ? map(file, address.bytes) : nullptr;
  ::close(file);
  if (!base) return {};
  PeerMemory memory(base, address, false);
  if (*static_cast<uint64_t*>(base) != address.token) return {};
  return memory;
}

PeerMemory::~PeerMemory() {
  if (!base_) return;
  ::munmap(base_, size_t(address_.bytes + kHeader));
  if (owned_) ::close(address_.file);
}

std::byte* PeerMemory::data() const { return static_cast<std::byte*>(base_) + kHeader; }

Buffer PeerBuffers::allocate(Device device, int64_t bytes) {
  std::optional<PeerMemory> memory;
  if (device.kind == Device::Kind::cpu && bytes > 0) memory = PeerMemory::make(bytes);
  if (!memory) {
    if (device.kind == Device::Kind::cpu && bytes > 0)
      log::warn(
          "could not reserve {} MB of memory that the ranks of this host share: they exchange messages instead, "
          "several "
          "times slower",
          bytes >> 20);
    return allocate_for_peers(device, bytes);
  }
  std::byte* data = memory->data();
  std::lock_guard lock(mutex_);
  memories_.push_back(std::move(*memory));
  return Buffer(device, data, bytes, [self = shared_from_this(), data] { self->release(data); });
}

std::optional<PeerBuffers::Place> PeerBuffers::find(const void* data, int64_t bytes) {
  std::lock_guard lock(mutex_);
  for (const PeerMemory& memory : memories_) {
    int64_t offset = static_cast<const std::byte*>(data) - memory.data();
    if (offset >= 0 && offset + bytes <= memory.address().bytes) return Place{memory.address(), offset};
  }
  return {};
}

void PeerBuffers::release(const std::byte* data) {
  if (std::uncaught_exceptions()) return;  // see allocate_for_peers
  std::lock_guard lock(mutex_);
  std::erase_if(memories_, [&](const PeerMemory& memory) { return memory.data() == data; });
}

}  // namespace viaduct
