// Strategy zero2: as zero1, and of the gradients too each rank keeps its range. Every pass, and every loss of it, is
// reduced at once: blocks get their storage in buckets, which the next ones reuse.
#pragma once
#include "comm/bucket_storage.hpp"
#include "comm/sharded_sync.hpp"

namespace viaduct {

class Zero2 final : public ShardedSync {
 public:
  Zero2(ParameterStore&, Communicator&, const GradSyncOptions&);
  Tensor open(Range block) override;
  int64_t bytes() const override { return storage_.bytes() + (staged_ ? staged_->bytes() : 0) + sums_.bytes(); }

 private:
  DType travels_as() const override { return type_; }
  void pass_begun() override;
  void block_part(size_t block) override;
  void block_ready(size_t block) override;
  void launch(size_t bucket) override;
  void complete() override;

  const DType type_;           // on the wire
  std::vector<Range> ranges_;  // of the buckets, without the step tail
  BucketStorage storage_;
  std::shared_ptr<Buffer> staged_;  // a bucket in the type of the wire, unless that is fp32; see GradientWire
  Buffer sums_;                     // fixed point: of this rank's range
  size_t launched_ = 0;
  bool last_loss_ = false;
};

}  // namespace viaduct
