// Which blocks of gradients travel together, and when they may go.
#pragma once
#include <cstddef>
#include <vector>

#include "core/base/range.hpp"

namespace viaduct {

// Consecutive blocks in the order in which backward finishes them (last first), closed when they reach `bytes`. Unless
// all fit in one, the block that is ready last goes alone with the step tail, because nothing is left to hide its
// transfer.
std::vector<Range> make_buckets(const std::vector<Range>& blocks, int64_t element_bytes, double bytes);

class Buckets {
 public:
  Buckets(const std::vector<Range>& blocks, int64_t element_bytes, double bytes);

  const std::vector<Range>& ranges() const { return ranges_; }
  size_t of(size_t block) const { return bucket_of_[block]; }

  void begin_pass();
  // Block `block` is final. `launch(bucket)` is called in the order of ranges() on every rank, whatever order blocks
  // become ready in.
  template <class Launch>
  void ready(size_t block, Launch&& launch) {
    --pending_[bucket_of_[block]];
    for (; next_ < ranges_.size() && pending_[next_] == 0; ++next_) launch(next_);
  }

 private:
  std::vector<Range> ranges_;
  std::vector<size_t> bucket_of_;  // per block
  std::vector<int> blocks_in_, pending_;
  size_t next_ = 0;
};

}  // namespace viaduct
