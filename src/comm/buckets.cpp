#include "comm/buckets.hpp"

namespace viaduct {

std::vector<Range> make_buckets(const std::vector<Range>& blocks, int64_t element_bytes, double bytes) {
  std::vector<Range> buckets;
  const bool fit_in_one = double(blocks.back().end * element_bytes) <= bytes;
  for (size_t i = blocks.size(); i-- > 0;) {
    const bool full = !buckets.empty() && double(buckets.back().size() * element_bytes) >= bytes;
    if (buckets.empty() || full || (i == 0 && !fit_in_one))
      buckets.push_back(blocks[i]);
    else
      buckets.back().begin = blocks[i].begin;
  }
  buckets.back().begin = 0;  // the step tail
  return buckets;
}

Buckets::Buckets(const std::vector<Range>& blocks, int64_t element_bytes, double bytes)
    : ranges_(make_buckets(blocks, element_bytes, bytes)), bucket_of_(blocks.size()), blocks_in_(ranges_.size(), 0) {
  for (size_t b = 0; b < ranges_.size(); ++b)
    for (size_t i = 0; i < blocks.size(); ++i)
      if (ranges_[b].contains(blocks[i])) bucket_of_[i] = b, ++blocks_in_[b];
  begin_pass();
}

void Buckets::begin_pass() {
  pending_ = blocks_in_;
  next_ = 0;
}

}  // namespace viaduct
