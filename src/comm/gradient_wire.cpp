#include "comm/gradient_wire.hpp"

#include <algorithm>
#include <cstring>

#include "comm/shards.hpp"

namespace viaduct {
namespace {

constexpr int64_t kTail = ParameterStore::kTailSlot;
constexpr Range kTailRange{0, kTail};

Tensor slice(const Tensor& t, Range r) { return t.slice(r.begin, r.end); }
Range without_tail(Range bucket) { return {std::max(bucket.begin, kTail), bucket.end}; }

}  // namespace

GradientWire::GradientWire(ParameterStore& store, Communicator& comm, const WireOptions& options, int64_t largest)
    : gradients_(store.grads()), type_(options.type) {
  if (options.type == DType::bf16 && comm.size() == 1) type_ = gradients_.dtype;  // nothing travels
  if (plain()) return;
  buffer_ = comm.allocate(gradients_.device, (adds() ? store.size() : largest) * size_of(type_));
}

Tensor GradientWire::outgoing(Range range) {
  if (adds()) return buffer_.view(0, gradients_.shape, type_).slice(range.begin, range.end);
  Tensor staged = buffer_.view(0, {range.size()}, type_);
  wire_convert(staged, slice(gradients_, range));
  return staged;
}

void GradientWire::all_reduce(Communicator& comm, Stream& stream, Range bucket) {
  if (plain()) return comm.all_reduce(slice(gradients_, bucket), Reduce::sum, stream);
  const Range range = without_tail(bucket);
  Tensor sums = outgoing(range);
  comm.all_reduce(sums, Reduce::sum, stream);
  wire_convert(slice(gradients_, range), sums);
  if (bucket.begin == 0) comm.all_reduce(slice(gradients_, kTailRange), Reduce::sum, stream);
}

void GradientWire::reduce_parts(Communicator& comm, Stream& stream, Range bucket, const std::vector<Range>& shards) {
  const Range range = without_tail(bucket);
  const auto parts = within(shards, range);
  Tensor sums = plain() ? slice(gradients_, range) : outgoing(range);
  comm.reduce_parts(sums, parts, Reduce::sum, stream);
  const Range mine = parts[size_t(comm.rank())];
  if (!plain()) wire_convert(slice(slice(gradients_, range), mine), slice(sums, mine));
  if (bucket.begin == 0) comm.all_reduce(slice(gradients_, kTailRange), Reduce::sum, stream);
}

void GradientWire::begin_step() {
  if (adds()) std::memset(buffer_.data(), 0, size_t(buffer_.bytes()));
}

void GradientWire::add(Range block) {
  Tensor gradients = slice(gradients_, block);
  wire_add(outgoing(block), gradients);
  std::memset(gradients.data, 0, size_t(gradients.bytes()));
}

}  // namespace viaduct
