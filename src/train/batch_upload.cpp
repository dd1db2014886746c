#include "train/batch_upload.hpp"

#include "core/base/range.hpp"

namespace viaduct {
namespace {

constexpr int64_t kAlignment = 256;

int64_t place_of(const Tensor& t) { return align_up(t ? t.bytes() : 0, kAlignment); }

}  // namespace

BatchUpload::BatchUpload(Device device, const Batch& largest)
    : device_(device), memory_(device, bytes(device.kind, largest)) {}

int64_t BatchUpload::bytes(Device::Kind kind, const Batch& largest) {
  if (kind != Device::Kind::cuda) return 0;
  Batch shapes = largest;
  int64_t bytes = 0;
  for (Tensor* t : tensors_of(shapes)) bytes += place_of(*t);
  return bytes;
}

Batch BatchUpload::operator()(Batch batch, Stream& stream) {
  if (!device_.is_cuda() || batch.size() == 0) return batch;
  if (uploaded_) stream.synchronize();
  uploaded_ = std::make_shared<const Batch>(batch);
  batch.host = uploaded_;
  int64_t at = 0;
  for (Tensor* t : tensors_of(batch)) {
    if (!*t) continue;
    Tensor there = memory_.view(at, t->shape, t->dtype);
    transfer(there, *t, stream);
    *t = there, at += place_of(there);
  }
  return batch;
}

}  // namespace viaduct
