#include "comm/zero2.hpp"

#include <algorithm>
#include <cstring>

#include "comm/shards.hpp"

namespace viaduct {
namespace {

DType wire_type(const GradSyncOptions& options, const Communicator& comm) {
  return options.wire.type == DType::bf16 && comm.size() == 1 ? DType::f32 : options.wire.type;
}

std::vector<Range> without_tail(std::vector<Range> buckets) {
  for (Range& bucket : buckets) bucket.begin = std::max(bucket.begin, ParameterStore::kTailSlot);
  return buckets;
}

}  // namespace

Zero2::Zero2(ParameterStore& store, Communicator& comm, const GradSyncOptions& options)
    : ShardedSync(store, comm, options),
      type_(wire_type(options, comm)),
      ranges_(without_tail(buckets_.ranges())),
      storage_(
          ranges_, DType::f32, store.grads().device,
          [&comm](Device device, int64_t bytes) { return comm.allocate(device, bytes); },
          [this](CommThread::Ticket ticket) {
            if (thread_) thread_->wait(ticket);
          }) {
  const Device device = store.grads().device;
  expect(store.grads().dtype == DType::f32, "divided gradients are fp32");
  if (type_ != DType::f32) staged_ = std::make_shared<Buffer>(comm.allocate(device, largest_bucket() * size_of(type_)));
  if (type_ == DType::i64) sums_ = comm.allocate(device, shards_[size_t(comm.rank())].size() * size_of(type_));
}

Tensor Zero2::open(Range block) {
  const size_t bucket = buckets_.of(index_of(block));
  const int64_t first = ranges_[bucket].begin;
  return storage_.open(bucket).slice(block.begin - first, block.end - first);
}

void Zero2::pass_begun() {
  BucketedSync::pass_begun();
  if (first_pass() && sums_.bytes() > 0 && !plans()) std::memset(sums_.data(), 0, size_t(sums_.bytes()));
}

void Zero2::block_part(size_t block) {
  last_loss_ = false;
  buckets_.ready(block, [this](size_t bucket) { launch(bucket); });
  if (launched_ == ranges_.size()) launched_ = 0, buckets_.begin_pass();
}

void Zero2::block_ready(size_t block) {
  last_loss_ = true;
  buckets_.ready(block, [this](size_t bucket) { launch(bucket); });
  if (launched_ == ranges_.size()) launched_ = 0;
}

void Zero2::launch(size_t bucket) {
  ++launched_;
  const Range range = ranges_[bucket];
  Tensor gradients = storage_.open(bucket), tail;  // where this rank had nothing to open it: zeros
  if (type_ == DType::i64 && !plans()) check_addends(gradients, range.begin);
  if (last_loss_ && last_pass() && bucket + 1 == ranges_.size()) seal_tail(), tail = tail_slot();

  const Range own = shards_[size_t(comm_.rank())];
  const Range mine{std::max(own.begin, range.begin), std::min(own.end, range.end)};
  Tensor to;
  if (!mine.empty())
    to = type_ == DType::i64 ? sums_.view(0, {own.size()}, type_).slice(mine.begin - own.begin, mine.end - own.begin)
                             : store_.grads(mine);
  auto ticket = submit([type = type_, staged = staged_, gradients, tail, to, parts = within(shards_, range)](
                           Communicator& comm, Stream& stream) {
    Tensor sums = gradients;
    if (staged) sums = staged->view(0, gradients.shape, type), wire_convert(sums, gradients);
    comm.reduce_parts(sums, parts, Reduce::sum, stream);
    const Range part = parts[size_t(comm.rank())];
    if (to) wire_add(to, sums.slice(part.begin, part.end));
    if (tail) comm.all_reduce(tail, Reduce::sum, stream);
  });
  storage_.close(bucket, ticket);
}

void Zero2::complete() {
  BucketedSync::complete();
  const Range own = shards_[size_t(comm_.rank())];
  if (type_ == DType::i64 && !own.empty()) wire_convert(store_.grads(own), sums_.view(0, {own.size()}, type_));
}

}  // namespace viaduct
