#include "comm/bucket_storage.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace viaduct {

BucketStorage::BucketStorage(std::vector<Range> buckets, DType dtype, Device device, Allocate allocate,
                             std::function<void(CommThread::Ticket)> wait)
    : buckets_(std::move(buckets)),
      largest_(64, 0),
      members_(64, 0),
      dtype_(dtype),
      device_(device),
      allocate_(std::move(allocate)),
      wait_(std::move(wait)) {
  for (size_t b = 0; b < buckets_.size(); ++b) {
    const size_t of = size_t(class_of(b));
    largest_[of] = std::max(largest_[of], buckets_[b].size()), ++members_[of];
  }
}

// Within a factor of two.
int BucketStorage::class_of(size_t bucket) const { return std::bit_width(uint64_t(buckets_[bucket].size())) - 1; }

BucketStorage::Slot& BucketStorage::slot_for(size_t bucket) {
  const int of = class_of(bucket);
  int64_t slots = 0, open = 1;
  Slot* longest_closed = nullptr;
  for (Slot& slot : slots_) {
    if (slot.size_class != of) continue;
    ++slots;
    if (slot.bucket >= 0)
      ++open;
    else if (!longest_closed || slot.ticket < longest_closed->ticket)
      longest_closed = &slot;
  }
  if (slots >= std::min(open + 1, members_[size_t(of)])) return *longest_closed;
  slots_.push_back({allocate_(device_, largest_[size_t(of)] * size_of(dtype_)), of});
  return slots_.back();
}

Tensor BucketStorage::open(size_t bucket) {
  auto has = [&](const Slot& slot) { return slot.bucket == int64_t(bucket); };
  auto found = std::find_if(slots_.begin(), slots_.end(), has);
  const bool opened = found != slots_.end();
  Slot& slot = opened ? *found : slot_for(bucket);
  Tensor storage = slot.buffer.view(0, {buckets_[bucket].size()}, dtype_);
  if (opened) return storage;
  wait_(slot.ticket);
  slot.bucket = int64_t(bucket);
  if (!device_.is_meta()) std::memset(storage.data, 0, size_t(storage.bytes()));
  return storage;
}

void BucketStorage::close(size_t bucket, CommThread::Ticket ticket) {
  for (Slot& slot : slots_)
    if (slot.bucket == int64_t(bucket)) slot.bucket = -1, slot.ticket = ticket;
}

int64_t BucketStorage::bytes() const {
  int64_t sum = 0;
  for (const Slot& slot : slots_) sum += slot.buffer.bytes();
  return sum;
}

}  // namespace viaduct
