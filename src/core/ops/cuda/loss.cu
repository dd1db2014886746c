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

// As row_loss, for targets of two labels; see SoftLabels. shares null: others and shares are not read.
template <bool block, class T>
__global__ void row_soft_loss(float* losses, T* dlogits, const T* logits, const int32_t* labels, const int32_t* others,
                              const float* shares, int64_t rows, int columns, float smoothing, bool packed) {
  __shared__ float shared[kWarp];
  const Team<block> team;
  if (team.row >= rows) return;
  const T* x = logits + team.row * columns;
  T* dx = dlogits ? dlogits + team.row * columns : nullptr;
  const int label = labels[team.row], other = shares ? others[team.row] : label;
  auto logit = [&](int c) { return c >= 0 && c < columns ? to_float(x[c]) : NAN; };
  const float base = smoothing / float(columns), rest = 1 - smoothing;
  const float mine = rest * (shares ? shares[team.row] : 1.0f), theirs = rest - mine;
  const float own = logit(label), second = logit(other);
  const ExpSum e = exp_sum(team, x, columns, packed);
  float all = 0;
  if (base > 0)
    for_share(x, columns, packed, team.rank, team.size, [&]<int n>(int, const Pack<T, n>& p) {
      for (int i = 0; i < n; ++i) all += to_float(p.v[i]) - e.largest;
    });
  all = team.sum(all, shared);
  if (team.rank == 0)
    losses[team.row] = logf(e.sum) - (mine * (own - e.largest) + theirs * (second - e.largest) + base * all);
  if (!dx) return;
  const float scale = 1 / e.sum;
  for_share(x, columns, packed, team.rank, team.size, [&]<int n>(int at, const Pack<T, n>& p) {
    Pack<T, n> out;
    for (int i = 0; i < n; ++i) {
      const float target = base + (at + i == label ? mine : 0) + (at + i == other ? theirs : 0);
      out.v[i] = from_float<T>(expf(to_float(p.v[i]) - e.largest) * scale - target);
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

void soft_cross_entropy(Ctx& ctx, Tensor losses, Tensor dlogits, Tensor logits, const SoftLabels& soft) {
  const int64_t rows = logits.shape[0], columns = logits.shape[1];
  const bool packed = !dlogits || same_phase(dlogits.data, logits.data);
  dispatch_device(logits.dtype, [&]<class T>() {
    with_team(rows, columns, [&]<bool block>(const Launch& l) {
      launch(ctx, row_soft_loss<block, T>, l, ptr<float>(losses), ptr<T>(dlogits), ptr<T>(logits),
             ptr<int32_t>(soft.labels), ptr<int32_t>(soft.others), ptr<float>(soft.shares), rows, int(columns),
             float(soft.smoothing), packed);
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
