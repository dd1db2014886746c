// The elements of a tensor where the host can reach them: its own memory on the CPU, otherwise a copy.
#pragma once
#include "core/device/buffer.hpp"
#include "core/device/stream.hpp"

namespace viaduct {

class HostCopy {
 public:
  enum class Fetch { yes, no };  // no: the present elements do not matter
  HostCopy(Tensor of, Stream&, Fetch);
  Tensor tensor() const { return host_; }
  void store();  // back to the device, there when it returns

 private:
  Tensor of_, host_;
  Stream& stream_;
  Buffer buffer_;
};

// Memory of the host that `device` copies from and to without a detour.
Buffer host_memory_near(Device, int64_t bytes);

}  // namespace viaduct
