#include "comm/sharded_sync.hpp"

#include "comm/shards.hpp"
#include "core/ops/update.hpp"

namespace viaduct {

ShardedSync::ShardedSync(ParameterStore& store, Communicator& comm, const GradSyncOptions& options)
    : BucketedSync(store, comm, options),
      shards_(make_shards(store.range(), comm.size())),
      arrivals_(buckets_.ranges().size(), 0) {}

// Sums of whole chunks, gathered and added in their order: the bits of the sum over one undivided buffer.
void ShardedSync::squared_norm(Ctx& ctx, Tensor out) {
  auto scope = ctx.arena.scope("gradient norm");
  const Range mine = shards_[size_t(comm_.rank())];
  const int64_t most = ceil_div(shards_[0].size(), ops::kNormChunk);
  Tensor own = ctx.arena.temp({most}, DType::f64);
  Tensor all = ctx.arena.temp({most * comm_.size()}, DType::f64);
  fill_zero(own, ctx.stream);
  if (!mine.empty())
    ops::squared_norm_chunks(ctx, own.slice(0, ceil_div(mine.size(), ops::kNormChunk)), store_.grads(mine));
  comm_.all_gather(all, own, ctx.stream);
  ops::sum_in_order(ctx, out, all);
}

void ShardedSync::updated() {
  if (!thread_) {  // a recorded step ends with what it has begun
    if (!plans()) comm_.gather_parts(store_.values(), shards_, stream());
    return;
  }
  for (size_t b = buckets_.ranges().size(); b-- > 0;) {
    const Range bucket = buckets_.ranges()[b];
    arrivals_[b] =
        thread_->submit([values = store_.values(bucket), parts = within(shards_, bucket)](
                            Communicator& comm, Stream& stream) { comm.gather_parts(values, parts, stream); });
  }
}

void ShardedSync::need(Range block) {
  if (!thread_) return;
  const auto& ranges = buckets_.ranges();
  for (size_t b = 0; b < ranges.size(); ++b)
    if (ranges[b].contains(block)) return thread_->wait(arrivals_[b]);
  fail(Exit::crash, fmt::format("[{}, {}) is needed and is no block", block.begin, block.end));
}

void ShardedSync::settle() {
  if (thread_) thread_->wait();
}

}  // namespace viaduct
