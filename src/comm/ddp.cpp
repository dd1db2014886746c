#include "comm/ddp.hpp"

#include <algorithm>
#include <chrono>

#include "comm/step_tail.hpp"

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

Ddp::Ddp(ParameterStore& store, Communicator& comm, double bucket_mb) : store_(store) {
  expect(store.trainable() && !store.blocks().empty(), "gradients are synchronised for a store that has some");
  expect(comm.size() <= kTailMaxRanks,
         fmt::format("the step tail adds up exactly for at most {} ranks", kTailMaxRanks));
  const auto& blocks = store.blocks();
  bucket_of_.assign(blocks.size(), -1);
  for (Range range : make_buckets(blocks, size_of(store.grads().dtype), bucket_mb * 1e6)) {
    for (size_t i = 0; i < blocks.size(); ++i)
      if (range.contains(blocks[i])) bucket_of_[i] = int(buckets_.size());
    int count = int(std::count(bucket_of_.begin(), bucket_of_.end(), int(buckets_.size())));
    buckets_.push_back({range, count, count});
  }
  if (comm.size() > 1) thread_.emplace(comm.duplicate());
}

void Ddp::begin(const StepTail& mine, bool last_pass) {
  if (thread_) thread_->check();
  if (in_step_) {
    expect(!last_pass_, "begin() after the last pass: finish() comes first");
    check_reports();
    tail_.quarantined += mine.quarantined;
    tail_.stop = std::max(tail_.stop, mine.stop);
  } else {
    tail_ = mine;
  }
  in_step_ = true;
  last_pass_ = last_pass;
  reports_.assign(store_.blocks().size(), 0);
  for (Bucket& bucket : buckets_) bucket.pending = bucket.blocks;
  next_bucket_ = 0;
}

void Ddp::add_loss(Tensor losses, int64_t terms) {
  expect(in_step_, "add_loss() belongs between begin() and finish()");
  expect(next_bucket_ < buckets_.size(),
         "add_loss() comes before the last block is ready: its bucket carries the loss");
  tail_.loss_sum += sum_losses(losses);
  tail_.terms += terms;
}

void Ddp::ready(Range block) {
  expect(in_step_, "ready() belongs between begin() and finish()");
  const auto& blocks = store_.blocks();
  const size_t i = size_t(std::find(blocks.begin(), blocks.end(), block) - blocks.begin());
  expect(i < blocks.size(), fmt::format("[{}, {}) was reported ready and is no block", block.begin, block.end));
  if (++reports_[i] > 1) return;  // finish() says so
  --buckets_[size_t(bucket_of_[i])].pending;
  if (!last_pass_) return;
  for (; next_bucket_ < buckets_.size() && buckets_[next_bucket_].pending == 0; ++next_bucket_)
    launch(buckets_[next_bucket_]);
}

void Ddp::launch(const Bucket& bucket) {
  if (bucket.range.begin == 0) write_tail(tail_, store_.grads({0, ParameterStore::kTailSlot}));
  if (!thread_) return;
  thread_->submit([gradients = store_.grads(bucket.range)](Communicator& comm, Stream& stream) {
    comm.all_reduce(gradients, Reduce::sum, stream);
  });
}

StepTail Ddp::finish() {
  expect(in_step_ && last_pass_, "finish() comes after the last pass");
  check_reports();
  const auto start = std::chrono::steady_clock::now();
  if (thread_) thread_->wait();
  exposed_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  in_step_ = last_pass_ = false;
  return read_tail(store_.grads({0, ParameterStore::kTailSlot}));
}

void Ddp::check_reports() const {
  std::string never, twice;
  for (size_t i = 0; i < reports_.size(); ++i) {
    std::string& list = reports_[i] == 0 ? never : twice;
    if (reports_[i] != 1) list += (list.empty() ? "" : ", ") + store_.block_name(store_.blocks()[i]);
  }
  expect(never.empty(), "gradients of these blocks were never reported ready: " + never);
  expect(twice.empty(), "gradients of these blocks were reported ready more than once: " + twice);
}

}  // namespace viaduct
