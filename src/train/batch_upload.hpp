// Batches come from the loader in host memory; a cuda device is given them at addresses that are the same for all batches
// of the same shapes, so that a recorded step finds them (rule R4). On the CPU a batch is used where it lies.
#pragma once
#include "core/device/stream.hpp"
#include "data/batch.hpp"

namespace viaduct {

class BatchUpload {
 public:
  // `largest`: the shapes of the largest batch (Task::blank_batch), whose bytes are taken of a cuda device.
  BatchUpload(Device device, const Batch& largest);
  static int64_t bytes(Device::Kind, const Batch& largest);  // on the device

  // The same batch with its tensors on the device, in the order of the stream; Batch::on_host() is the one given.
  Batch operator()(Batch, Stream&);

 private:
  Device device_;
  Buffer memory_;
  std::shared_ptr<const Batch> uploaded_;  // its memory must stay until the copies are done
};

}  // namespace viaduct
