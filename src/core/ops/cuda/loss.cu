#include "core/ops/cuda/loss.hpp"

#include "core/ops/cuda/team.cuh"

namespace viaduct::ops::cuda {
namespace {

// dlogits null: not wanted; may be logits. What is no label at all gives a loss that is not a number.
template <bool block, class T>
__global__ void row_loss(float* losses, T* dlogits, const T* logits, const int32_t* labels, int64_t rows, int columns,
                         float weight, bool packed) {
  const Team<block> team;
  if (team.row >= rows) return;
  const T* x = logits + team.row * columns;
  T* dx = dlogits ? dlogits + team.row * columns : nullptr;
  const int label = labels[team.row];
  const bool ignored = label == kIgnoredLabel, known = label >= 0 && label < columns;
  const float own = known ? to_float(x[label]) : NAN;
  const ExpSum e = exp_sum(team, x, columns, packed);
  if (team.rank == 0) losses[team.row] = ignored ? 0 : weight * (logf(e.sum) - (own - e.largest));
  if (!dx) return;
  const float scale = weight / e.sum;
  for_share(x, columns, packed, team.rank, team.size, [&]<int n>(int at, const Pack<T, n>& p) {
    Pack<T, n> out;
    for (int i = 0; i < n; ++i) {
      float power = expf(to_float(p.v[i]) - e.largest);
      float d = at + i == label ? weight * (power / e.sum - 1) : power * scale;
      out.v[i] = from_float<T>(ignored ? 0 : d);
    }
    store_pack(dx + at, out);
  });
}

template <bool block, class T>
__global__ void row_softmax(float* probabilities, const T* logits, int64_t rows, int columns) {
  const Team<block> team;
  if (team.row >= rows) return;
  const T* x = logits + team.row * columns;
  float* to = probabilities + team.row * columns;
  const ExpSum e = exp_sum(team, x, columns, true);
  const float scale = 1 / e.sum;
  for (int i = team.rank; i < columns; i += team.size) to[i] = expf(to_float(x[i]) - e.largest) * scale;
}

}  // namespace

void cross_entropy(Ctx& ctx, Tensor losses, Tensor dlogits, Tensor logits, Tensor labels, double weight) {
  const int64_t rows = logits.shape[0], columns = logits.shape[1];
  const bool packed = !dlogits || same_phase(dlogits.data, logits.data);
  dispatch_device(logits.dtype, [&]<class T>() {
    with_team(rows, columns, [&]<bool block>(const Launch& l) {
      launch(ctx, row_loss<block, T>, l, ptr<float>(losses), ptr<T>(dlogits), ptr<T>(logits), ptr<int32_t>(labels),
             rows, int(columns), float(weight), packed);
    });
  });
}

void softmax(Ctx& ctx, Tensor probabilities, Tensor logits) {
  const int64_t rows = logits.shape[0], columns = logits.shape[1];
  dispatch_device(logits.dtype, [&]<class T>() {
    with_team(rows, columns, [&]<bool block>(const Launch& l) {
      launch(ctx, row_softmax<block, T>, l, ptr<float>(probabilities), ptr<T>(logits), rows, int(columns));
    });
  });
}

}  // namespace viaduct::ops::cuda
