// Order of work on a device. On the CPU everything has already happened when a call returns, so there is nothing to wait for.
// A stream is always passed explicitly; there is no default one (rule R3).
#pragma once
#include "core/tensor/tensor.hpp"

namespace viaduct {

class Stream {
 public:
  explicit Stream(Device);
  Stream(const Stream&) = delete;
  ~Stream();
  void synchronize();
  // What this one is given from now on waits for what the other has been given so far; both of one device.
  void wait_stream(Stream& other);
  Device device() const { return device_; }
  void* native() const { return native_; }  // the cudaStream_t of a cuda device

 private:
  Device device_;
  void* native_ = nullptr;
};

// to = from, elements of one dtype and number, between any two devices, in the stream's order: memory of the host must
// stay as it is until the stream has been synchronised.
void transfer(Tensor to, Tensor from, Stream&);
void fill_zero(Tensor, Stream&);

}  // namespace viaduct
