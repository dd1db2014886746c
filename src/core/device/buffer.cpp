#include "core/device/buffer.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "core/device/cuda/runtime.hpp"

namespace viaduct {

Buffer::Buffer(Device device, int64_t bytes) : bytes_(bytes), device_(device) {
  if (bytes == 0) return;
  if (device.is_cuda()) {
    if constexpr (cuda::kBuilt) {
      data_ = cuda::allocate(device.index, bytes);
      release_ = [p = data_] { cuda::release(p); };
      return;
    } else {
      cuda::fail_not_built();
    }
  }
  // On meta the addresses are reserved but not readable: views have an identity, and a use of their contents is a
  // fault.
  int access = device.is_meta() ? PROT_NONE : PROT_READ | PROT_WRITE;
  int lazily = device.is_meta() ? MAP_NORESERVE : 0;
  void* p = ::mmap(nullptr, size_t(bytes), access, MAP_PRIVATE | MAP_ANONYMOUS | lazily, -1, 0);
  if (p == MAP_FAILED)
    fail(Exit::crash, fmt::format("could not allocate {:.2f} GiB of memory: {}; try a smaller train.batch_size",
                                  double(bytes) / (1 << 30), std::strerror(errno)));
  ::madvise(p, size_t(bytes), MADV_HUGEPAGE);  // a hint: fewer page faults on large buffers
  data_ = p;
  release_ = [p, bytes] { ::munmap(p, size_t(bytes)); };
}

Buffer::Buffer(Device device, void* data, int64_t bytes, std::function<void()> release)
    : data_(data), bytes_(bytes), device_(device), release_(std::move(release)) {}

Buffer::~Buffer() {
  if (release_) release_();
}

Tensor Buffer::view(int64_t offset, Shape shape, DType dtype) const {
  Tensor t{nullptr, shape, dtype, device_};
  expect(offset >= 0 && offset + t.bytes() <= bytes_, "a view lies inside its buffer");
  if (data_) t.data = static_cast<std::byte*>(data_) + offset;
  return t;
}

}  // namespace viaduct
