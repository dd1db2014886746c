#include "comm/zero1.hpp"

#include <algorithm>

#include "comm/shards.hpp"
#include "core/ops/elementwise.hpp"
#include "core/ops/update.hpp"

namespace viaduct {

Zero1::Zero1(ParameterStore& store, Communicator& comm, double bucket_mb)
    : ReportedSync(store, comm),
      shards_(make_shards(store.range(), comm.size())),
      buckets_(store.blocks(), size_of(store.grads().dtype), bucket_mb * 1e6),
      arrivals_(buckets_.ranges().size(), 0) {
  if (comm.size() > 1) thread_.emplace(comm.duplicate());
}

void Zero1::pass_begun() {
  if (thread_) thread_->check();
  buckets_.begin_pass();
}

void Zero1::block_ready(size_t block) {
  if (last_pass()) buckets_.ready(block, [this](size_t bucket) { launch(buckets_.ranges()[bucket]); });
}

void Zero1::launch(Range bucket) {
  const bool with_tail = bucket.begin == 0;
  if (with_tail) seal_tail();
  if (!thread_) return;
  Tensor tail = with_tail ? tail_slot() : Tensor{};
  thread_->submit(
      [gradients = store_.grads(bucket), parts = within(shards_, bucket), tail](Communicator& comm, Stream& stream) {
        comm.reduce_parts(gradients, parts, Reduce::sum, stream);
        if (tail) comm.all_reduce(tail, Reduce::sum, stream);
      });
}

void Zero1::complete() {
  if (thread_) thread_->wait();
}

// Sums of whole chunks, gathered and added in their order: the bits of the sum over one undivided buffer.
void Zero1::squared_norm(Ctx& ctx, Tensor out) {
  auto scope = ctx.arena.scope("gradient norm");
  const Range mine = shards_[size_t(comm_.rank())];
  const int64_t most = ceil_div(shards_[0].size(), ops::kNormChunk);
  Tensor own = ctx.arena.temp({most}, DType::f64);
  Tensor all = ctx.arena.temp({most * comm_.size()}, DType::f64);
  ops::fill(ctx, own, 0);
  if (!mine.empty())
    ops::squared_norm_chunks(ctx, own.slice(0, ceil_div(mine.size(), ops::kNormChunk)), store_.grads(mine));
  comm_.all_gather(all, own, ctx.stream);
  ops::sum_in_order(ctx, out, all);
}

void Zero1::updated() {
  if (!thread_) return;
  for (size_t b = buckets_.ranges().size(); b-- > 0;) {
    const Range bucket = buckets_.ranges()[b];
    arrivals_[b] =
        thread_->submit([values = store_.values(bucket), parts = within(shards_, bucket)](
                            Communicator& comm, Stream& stream) { comm.gather_parts(values, parts, stream); });
  }
}

void Zero1::need(Range block) {
  if (!thread_) return;
  const auto& ranges = buckets_.ranges();
  for (size_t b = 0; b < ranges.size(); ++b)
    if (ranges[b].contains(block)) return thread_->wait(arrivals_[b]);
  fail(Exit::crash, fmt::format("[{}, {}) is needed and is no block", block.begin, block.end));
}

void Zero1::settle() {
  if (thread_) thread_->wait();
}

}  // namespace viaduct
