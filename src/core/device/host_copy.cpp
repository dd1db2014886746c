#include "core/device/host_copy.hpp"

#include "core/device/cuda/runtime.hpp"

namespace viaduct {

HostCopy::HostCopy(Tensor of, Stream& stream, Fetch fetch) : of_(of), host_(of), stream_(stream) {
  if (!of.device.is_cuda()) return;
  buffer_ = Buffer(Device::cpu(), of.bytes());
  host_ = buffer_.view(0, of.shape, of.dtype);
  if (fetch == Fetch::no) return;
  transfer(host_, of_, stream_);
  stream_.synchronize();
}

void HostCopy::store() {
  if (host_.data == of_.data) return;
  transfer(of_, host_, stream_);
  stream_.synchronize();
}

Buffer host_memory_near(Device device, int64_t bytes) {
  if constexpr (cuda::kBuilt)
    if (device.is_cuda() && bytes > 0) {
      void* p = cuda::allocate_pinned(bytes);
      return Buffer(Device::cpu(), p, bytes, [p] { cuda::release_pinned(p); });
    }
  return Buffer(device.is_cuda() ? Device::cpu() : device, bytes);
}

}  // namespace viaduct
