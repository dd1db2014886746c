#include "train/global_rows.hpp"

#include "core/ops/elementwise.hpp"

namespace viaduct {
namespace {
constexpr int64_t kKeys = std::tuple_size_v<GlobalRows::Keys>;
}

GlobalRows::GlobalRows(Ctx& ctx, const Keys& mine, int64_t most, Communicator* comm, int64_t ranks) : comm_(comm) {
  mine_ = mine[0].shape[0];
  const int64_t width = mine[0].shape[1];
  expect(mine_ <= most, "a rank has no more rows than its batch");
  const bool plans = ctx.device().is_meta();
  Tensor counts = ctx.arena.temp({ranks}, DType::i64), count = ctx.arena.temp({1}, DType::i64);
  if (!plans) {
    data<int64_t>(count)[0] = mine_;
    comm_->all_gather(counts, count, ctx.stream);
    ctx.stream.synchronize();
  }
  auto rows_of = [&](int64_t rank) { return plans ? mine_ : data<int64_t>(counts)[rank]; };
  for (int64_t r = 0; r < ranks; ++r) {
    if (!plans && r < comm_->rank()) first_ += rows_of(r);
    total_ += rows_of(r);
  }
  for (Tensor& all : all_) all = ctx.arena.temp({total_, width}, mine[0].dtype);

  auto scope = ctx.arena.scope("gather");
  Tensor shard = ctx.arena.temp({kKeys * most, width}, mine[0].dtype);
  Tensor full = ctx.arena.temp({ranks * kKeys * most, width}, mine[0].dtype);
  ops::fill(ctx, shard, 0);
  for (int64_t i = 0; i < kKeys; ++i)
    if (mine_ > 0) ops::copy(ctx, shard.slice(i * most, i * most + mine_), mine[size_t(i)]);
  if (plans) return;
  comm_->all_gather(full, shard, ctx.stream);
  for (int64_t r = 0, at = 0; r < ranks; at += rows_of(r++))
    for (int64_t i = 0; i < kKeys && rows_of(r) > 0; ++i) {
      int64_t from = (r * kKeys + i) * most;
      ops::copy(ctx, all_[size_t(i)].slice(at, at + rows_of(r)), full.slice(from, from + rows_of(r)));
    }
}

GlobalRows::Keys GlobalRows::reduce(Ctx& ctx, const Keys& d) const {
  Keys own;
  const int64_t width = all_[0].shape[1];
  for (Tensor& t : own) t = ctx.arena.temp({mine_, width}, all_[0].dtype);
  auto scope = ctx.arena.scope("reduce");
  Tensor sums = ctx.arena.temp({kKeys * total_, width}, stat_dtype(all_[0].dtype));
  for (int64_t i = 0; i < kKeys; ++i) {
    Tensor part = sums.slice(i * total_, (i + 1) * total_);
    if (d[size_t(i)].shape[0] == total_)
      ops::copy(ctx, part, d[size_t(i)]);
    else
      ops::fill(ctx, part, 0);  // a rank without rows has nothing to say
  }
  if (!ctx.device().is_meta()) comm_->all_reduce(sums, Reduce::sum, ctx.stream);
  for (int64_t i = 0; i < kKeys; ++i)
    if (mine_ > 0) ops::copy(ctx, own[size_t(i)], sums.slice(i * total_ + first_, i * total_ + first_ + mine_));
  return own;
}

}  // namespace viaduct
