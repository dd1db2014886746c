// Owning memory on a device. Move-only; zero-filled. On Device::meta it has addresses and no memory.
#pragma once
#include <cstdint>
#include <functional>
#include <utility>

#include "core/tensor/tensor.hpp"

namespace viaduct {

class Buffer {
 public:
  Buffer() = default;
  Buffer(Device, int64_t bytes);  // aligned to 4096 bytes
  // Memory that somebody else allocated (a shared window, a registered buffer); `release` runs once, when the buffer
  // dies.
  Buffer(Device, void* data, int64_t bytes, std::function<void()> release);
  Buffer(Buffer&& o) noexcept { swap(o); }
  Buffer& operator=(Buffer&& o) noexcept {
    Buffer taken(std::move(o));
    swap(taken);
    return *this;
  }
  ~Buffer();

  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  // The bytes from `offset` as a tensor.
  Tensor view(int64_t offset, Shape, DType) const;

 private:
  void swap(Buffer& o) noexcept {
    std::swap(data_, o.data_), std::swap(bytes_, o.bytes_), std::swap(release_, o.release_);
    device_ = std::exchange(o.device_, device_);  // nvcc 13 finds no std::swap for it
  }
  void* data_ = nullptr;
  int64_t bytes_ = 0;
  Device device_;
  std::function<void()> release_;
};

// Who allocates flat buffers: a communicator may hand out a shared window or registered memory (rule R6).
using Allocate = std::function<Buffer(Device, int64_t bytes)>;
inline Buffer allocate_plain(Device device, int64_t bytes) { return Buffer(device, bytes); }

}  // namespace viaduct
