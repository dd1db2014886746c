#include "core/device/stream.hpp"

#include <cstring>

#include "core/device/cuda/runtime.hpp"

namespace viaduct {

Stream::Stream(Device device) : device_(device) {
  if constexpr (cuda::kBuilt) {
    if (device.is_cuda()) native_ = cuda::new_stream(device.index);
  } else if (device.is_cuda()) {
    cuda::fail_not_built();
  }
}

Stream::~Stream() {
  if constexpr (cuda::kBuilt)
    if (native_) cuda::delete_stream(native_);
}

void Stream::synchronize() {
  if constexpr (cuda::kBuilt)
    if (native_) cuda::synchronize(native_);
}

void Stream::wait_stream(Stream& other) {
  if constexpr (cuda::kBuilt)
    if (native_ && native_ != other.native_) cuda::wait_stream(native_, other.native_);
}

void transfer(Tensor to, Tensor from, Stream& stream) {
  expect(to.dtype == from.dtype && to.numel() == from.numel(), "what is transferred keeps its dtype and size");
  if (to.device.is_meta() || from.device.is_meta() || to.data == from.data || to.numel() == 0) return;
  if constexpr (cuda::kBuilt)
    if (to.device.is_cuda() || from.device.is_cuda())
      return cuda::copy(to.data, from.data, to.bytes(), stream.native());
  std::memcpy(to.data, from.data, size_t(to.bytes()));
}

void fill_zero(Tensor t, Stream& stream) {
  if (t.device.is_meta() || t.numel() == 0) return;
  if constexpr (cuda::kBuilt)
    if (t.device.is_cuda()) return cuda::fill_zero(t.data, t.bytes(), stream.native());
  std::memset(t.data, 0, size_t(t.bytes()));
}

}  // namespace viaduct
