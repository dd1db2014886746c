#include "core/ops/cuda/step_tail.hpp"

#include "core/ops/cuda/kernel.cuh"
#include "core/ops/step_tail_digits.hpp"

namespace viaduct::ops::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void count(double* sums, const double* counts) { step_tail::add_counts(sums, counts); }

// One block, whatever n: the order of the sum depends on n alone.
__global__ void __launch_bounds__(kThreads) add(double* sums, const float* losses, int64_t n, double terms) {
  __shared__ double shared[kWarp];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) sum += double(losses[i]);
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) sums[step_sum::loss] += sum, sums[step_sum::terms] += terms;
}

__global__ void write(float* slot, const double* sums) { step_tail::write(slot, sums); }
__global__ void read(double* sums, const float* slot) { step_tail::read(sums, slot); }

float* floats(const Tensor& t) {
  expect(t.dtype == DType::f32, "losses and the step tail are fp32 on cuda");
  return ptr<float>(t);
}

}  // namespace

void add_counts(Ctx& ctx, Tensor sums, Tensor counts) {
  launch(ctx, count, {1, 1}, ptr<double>(sums), ptr<double>(counts));
}

void add_losses(Ctx& ctx, Tensor sums, Tensor losses, int64_t terms) {
  launch(ctx, add, {1, kThreads}, ptr<double>(sums), floats(losses), losses.numel(), double(terms));
}

void write_step_tail(Ctx& ctx, Tensor slot, Tensor sums) {
  launch(ctx, write, {1, 1}, floats(slot), ptr<double>(sums));
}

void read_step_tail(Ctx& ctx, Tensor sums, Tensor slot) { launch(ctx, read, {1, 1}, ptr<double>(sums), floats(slot)); }

}  // namespace viaduct::ops::cuda
