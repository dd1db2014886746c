// Gradients that are kept only between the opening of a bucket and its reduction. Buckets of about one size take turns on
// as few buffers as are open at a time, and one more, whose reduction is under way.
#pragma once
#include <functional>
#include <vector>

#include "comm/comm_thread.hpp"
#include "core/base/range.hpp"

namespace viaduct {

class BucketStorage {
 public:
  // `wait(ticket)` returns when the job of a closed bucket is done.
  BucketStorage(std::vector<Range> buckets, DType, Device, Allocate, std::function<void(CommThread::Ticket)> wait);

  // Zeros, one element a gradient, until it is closed.
  Tensor open(size_t bucket);
  // The job that still reads it has this ticket.
  void close(size_t bucket, CommThread::Ticket);
  int64_t bytes() const;  // grows during the first pass only

 private:
  struct Slot {
    Buffer buffer;
    int size_class;
    int64_t bucket = -1;  // whose gradients are in it; -1: none
    CommThread::Ticket ticket = 0;
  };
  int class_of(size_t bucket) const;
  Slot& slot_for(size_t bucket);

  std::vector<Range> buckets_;
  std::vector<int64_t> largest_;  // elements, of each class
  std::vector<int64_t> members_;  // buckets, of each class
  DType dtype_;
  Device device_;
  Allocate allocate_;
  std::function<void(CommThread::Ticket)> wait_;
  std::vector<Slot> slots_;
};

}  // namespace viaduct
