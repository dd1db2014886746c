// The gradients of a store that keeps all of them, on their way through a collective in the type of the wire.
#pragma once
#include <vector>

#include "comm/communicator.hpp"
#include "comm/wire.hpp"
#include "core/nn/parameter.hpp"

namespace viaduct {

class GradientWire {
 public:
  // `largest`: elements of the largest range that travels at once.
  GradientWire(ParameterStore&, Communicator&, const WireOptions&, int64_t largest);

  // A collective on the gradients of `bucket`; the step tail travels with the bucket that begins with it. In bf16 every
  // rank's addend is rounded, their sum is formed in fp32 in the order of the ranks and rounded once.
  void all_reduce(Communicator&, Stream&, Range bucket);
  // Each rank gets what falls of `bucket` into its shard.
  void reduce_parts(Communicator&, Stream&, Range bucket, const std::vector<Range>& shards);

  // Fixed point only: a step begins; the gradients of `block` are one addend, which leaves zeros behind.
  void begin_step();
  void add(Range block);
  DType type() const { return type_; }
  bool adds() const { return type_ == DType::i64; }
  int64_t bytes() const { return buffer_.bytes(); }

 private:
  bool plain() const { return type_ == gradients_.dtype; }
  Tensor outgoing(Range);

  Tensor gradients_;  // [store.size()], not the store: a communication thread may be left behind with it
  DType type_;
  Buffer buffer_;  // bf16: of a bucket; int64: of all gradients
};

}  // namespace viaduct
