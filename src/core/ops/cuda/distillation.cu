#include "core/ops/cuda/distillation.hpp"

#include "core/ops/cuda/team.cuh"

namespace viaduct::ops::cuda {
namespace {

template <class T>
T* ptr_or_null(const Tensor& t) {
  return t ? ptr<T>(t) : nullptr;
}

template <bool block, class T>
__global__ void kl_rows(float* losses, T* dlogits, const T* logits, const T* teacher, int64_t rows, int columns,
                        float scale, float weight, float slope) {
  __shared__ float shared[kWarp];
  const Team<block> team;
  if (team.row >= rows) return;
  const T *x = logits + team.row * columns, *t = teacher + team.row * columns;
  T* dx = dlogits ? dlogits + team.row * columns : nullptr;
  const ExpSum student = exp_sum(team, x, columns, true, scale), taught = exp_sum(team, t, columns, true, scale);
  const float x_log = logf(student.sum), t_log = logf(taught.sum);
  float kl = 0;
  for (int i = team.rank; i < columns; i += team.size) {
    const float log_q = to_float(x[i]) * scale - student.largest - x_log;
    const float log_p = to_float(t[i]) * scale - taught.largest - t_log, p = expf(log_p);
    kl += p * (log_p - log_q);
    if (dx) dx[i] = from_float<T>(to_float(dx[i]) + slope * (expf(log_q) - p));
  }
  kl = team.sum(kl, shared);
  if (losses && team.rank == 0) losses[team.row] += weight * kl;
}

template <bool block, class T>
__global__ void squared_error_rows(float* losses, T* dx, const T* x, const T* target, int64_t rows, int columns,
                                   float weight) {
  __shared__ float shared[kWarp];
  const Team<block> team;
  if (team.row >= rows) return;
  const int64_t start = team.row * columns;
  float sum = 0;
  for (int i = team.rank; i < columns; i += team.size) {
    const float difference = to_float(x[start + i]) - to_float(target[start + i]);
    sum += difference * difference;
    if (dx) dx[start + i] = from_float<T>(to_float(dx[start + i]) + 2 * weight * difference);
  }
  sum = team.sum(sum, shared);
  if (losses && team.rank == 0) losses[team.row] += weight * sum;
}

template <bool block, class T>
__global__ void argmax_rows(int32_t* labels, const T* logits, int64_t rows, int columns) {
  __shared__ float shared[kWarp];
  const Team<block> team;
  if (team.row >= rows) return;
  const T* x = logits + team.row * columns;
  float largest = -FLT_MAX;
  for (int i = team.rank; i < columns; i += team.size) largest = fmaxf(largest, to_float(x[i]));
  largest = team.max(largest, shared);
  int first = columns;
  for (int i = team.rank; i < columns; i += team.size)
    if (to_float(x[i]) == largest) first = min(first, i);
  first = int(-team.max(-float(first), shared));
  if (team.rank == 0) labels[team.row] = first;
}

}  // namespace

void distillation_kl(Ctx& ctx, Tensor losses, Tensor dlogits, Tensor logits, Tensor teacher, DistillationKl o) {
  const int64_t rows = logits.shape[0], columns = logits.shape[1];
  dispatch_device(logits.dtype, [&]<class T>() {
    with_team(rows, columns, [&]<bool block>(const Launch& l) {
      launch(ctx, kl_rows<block, T>, l, ptr_or_null<float>(losses), ptr_or_null<T>(dlogits), ptr<T>(logits),
             ptr<T>(teacher), rows, int(columns), float(1 / o.temperature), float(o.weight),
             float(o.weight / o.temperature));
    });
  });
}

void squared_error(Ctx& ctx, Tensor losses, Tensor dx, Tensor x, Tensor target, double weight) {
  const int64_t rows = x.shape[0], columns = rows ? x.numel() / rows : 0;
  dispatch_device(x.dtype, [&]<class T>() {
    with_team(rows, columns, [&]<bool block>(const Launch& l) {
      launch(ctx, squared_error_rows<block, T>, l, ptr_or_null<float>(losses), ptr_or_null<T>(dx), ptr<T>(x),
             ptr<T>(target), rows, int(columns), float(weight));
    });
  });
}

void argmax(Ctx& ctx, Tensor labels, Tensor logits) {
  const int64_t rows = logits.shape[0], columns = logits.shape[1];
  expect(columns < 1 << 24, "a column is a whole number that fp32 holds");
  dispatch_device(logits.dtype, [&]<class T>() {
    with_team(rows, columns, [&]<bool block>(const Launch& l) {
      launch(ctx, argmax_rows<block, T>, l, ptr<int32_t>(labels), ptr<T>(logits), rows, int(columns));
    });
  });
}

}  // namespace viaduct::ops::cuda
