// Tensor-core instructions against naive sums, and asynchronous copies.
#include <random>

#include "core/ops/cuda/mma.cuh"
#include "kernels.hpp"

namespace viaduct::test {
namespace {

using namespace ops::cuda;

std::vector<bfloat16> random_matrix(size_t size, unsigned seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<bfloat16> v(size);
  for (auto& x : v) x = __float2bfloat16(normal(rng));
  return v;
}

uint32_t two(const bfloat16* at, int apart) {
  return uint32_t(__bfloat16_as_ushort(at[0])) | uint32_t(__bfloat16_as_ushort(at[apart])) << 16;
}

// d [16, 8] += a [16, 16] b [16, 8], all row-major in global memory, fragments filled by hand.
__global__ void multiply(const bfloat16* a, const bfloat16* b, float* d) {
  int g = int(threadIdx.x) / 4, t = int(threadIdx.x) % 4 * 2;
  uint32_t fa[4] = {two(a + g * 16 + t, 1), two(a + (g + 8) * 16 + t, 1), two(a + g * 16 + t + 8, 1),
                    two(a + (g + 8) * 16 + t + 8, 1)};
  uint32_t fb[2] = {two(b + t * 8 + g, 8), two(b + (t + 8) * 8 + g, 8)};
  float* at[4] = {d + g * 8 + t, d + g * 8 + t + 1, d + (g + 8) * 8 + t, d + (g + 8) * 8 + t + 1};
  float fd[4] = {*at[0], *at[1], *at[2], *at[3]};
  mma_m16n8k16(fd, fa, fb);
  for (int i = 0; i < 4; ++i) *at[i] = fd[i];
}

TEST(Matrix, MmaIsTheProduct) {
  auto a = random_matrix(16 * 16, 1), b = random_matrix(16 * 8, 2);
  std::vector<float> start(16 * 8);
  for (size_t i = 0; i < start.size(); ++i) start[i] = float(i);
  for (const std::string& s : schedules()) {
    Setting schedule("EMULATION_SCHEDULE", s);
    DeviceArray<bfloat16> da(a), db(b);
    DeviceArray<float> dd(start);
    ASSERT_EQ(launch(multiply, {1, 32}, da.data(), db.data(), dd.data()), cudaSuccess);
    auto d = dd.get();
    for (int i = 0; i < 16; ++i)
      for (int j = 0; j < 8; ++j) {
        double expected = i * 8 + j, size = expected;
        for (int k = 0; k < 16; ++k) {
          double term = double(float(a[size_t(i * 16 + k)])) * float(b[size_t(k * 8 + j)]);
          expected += term, size += std::abs(term);
        }
        EXPECT_NEAR(d[size_t(i * 8 + j)], expected, 17 * 0x1p-24 * size) << i << ", " << j;  // 17 roundings
      }
  }
}

template <bool transposed>
__global__ void load_four(const bfloat16* matrices, uint32_t* out) {  // [4, 8, 8] -> [32, 4]
  __shared__ __align__(16) bfloat16 shared[4 * 64];
  int lane = int(threadIdx.x);
  for (int i = lane; i < 4 * 64; i += 32) shared[i] = matrices[i];
  __syncwarp();
  uint32_t r[4];
  ldmatrix_x4<transposed>(r, shared + lane * 8);
  for (int m = 0; m < 4; ++m) out[lane * 4 + m] = r[m];
}

TEST(Matrix, LdmatrixDistributesRowsOrColumns) {
  auto matrices = random_matrix(4 * 64, 3);
  auto bits_at = [&](int m, int row, int column) {
    return uint32_t(__bfloat16_as_ushort(matrices[size_t(m * 64 + row * 8 + column)]));
  };
  DeviceArray<bfloat16> in(matrices);
  DeviceArray<uint32_t> plain(32 * 4), transposed(32 * 4);
  ASSERT_EQ(launch(load_four<false>, {1, 32}, in.data(), plain.data()), cudaSuccess);
  ASSERT_EQ(launch(load_four<true>, {1, 32}, in.data(), transposed.data()), cudaSuccess);
  auto p = plain.get(), t = transposed.get();
  for (int lane = 0; lane < 32; ++lane)
    for (int m = 0; m < 4; ++m) {
      int row = lane / 4, column = lane % 4 * 2;
      EXPECT_EQ(p[size_t(lane * 4 + m)], bits_at(m, row, column) | bits_at(m, row, column + 1) << 16);
      EXPECT_EQ(t[size_t(lane * 4 + m)], bits_at(m, column, row) | bits_at(m, column + 1, row) << 16);
    }
}

// Two groups of copies; `pending` says how many groups the reader lets be under way.
template <int pending>
__global__ void copy_in_two_groups(const int4* from, int4* first, int4* second) {
  __shared__ int4 shared[2][32];
  int i = int(threadIdx.x);
  cp_async16(&shared[0][i], from + i);
  cp_async_commit();
  cp_async16(&shared[1][i], from + 32 + i, i != 31);
  cp_async_commit();
  cp_async_wait<1>();
  first[i] = shared[0][i];
  cp_async_wait<pending>();
  second[i] = shared[1][i];
}

TEST(Matrix, AsynchronousCopiesArriveAtTheirWait) {
  std::vector<int4> values(64);
  for (int i = 0; i < 64; ++i) values[size_t(i)] = {i, i + 1, i + 2, i + 3};
  DeviceArray<int4> from(values), first(32), second(32);
  for (const char* when : {"late", "early"}) {
    Setting async("EMULATION_ASYNC", when);
    ASSERT_EQ(launch(copy_in_two_groups<0>, {1, 32}, from.data(), first.data(), second.data()), cudaSuccess);
    auto a = first.get(), b = second.get();
    for (int i = 0; i < 32; ++i) {
      EXPECT_EQ(a[size_t(i)].w, i + 3);
      EXPECT_EQ(b[size_t(i)].x, i == 31 ? 0 : i + 32);  // the last is not valid: zeros
    }
  }
}

TEST(Matrix, AMissingWaitIsSeenWhenCopiesAreLate) {
  DeviceArray<int4> from(std::vector<int4>(64, int4{7, 7, 7, 7})), first(32), second(32);
  for (const char* when : {"late", "early"}) {
    Setting async("EMULATION_ASYNC", when);
    ASSERT_EQ(launch(copy_in_two_groups<1>, {1, 32}, from.data(), first.data(), second.data()), cudaSuccess);
    EXPECT_EQ(first.get()[0].x, 7);
    EXPECT_EQ(second.get()[0].x, when == std::string("late") ? -1 : 7) << when;
  }
}

// The buffer is read while the next copy into it may already arrive.
__global__ void overwrite_too_early(const int4* from, int4* out) {
  __shared__ int4 shared[32];
  int i = int(threadIdx.x);
  cp_async16(&shared[i], from + i);
  cp_async_commit();
  cp_async_wait<0>();
  __syncwarp();
  cp_async16(&shared[i], from + 32 + i);
  out[i] = shared[31 - i];
  cp_async_commit();
  cp_async_wait<0>();
}
void overwrite_and_compare() {
  std::vector<int4> values(64, int4{1, 1, 1, 1});
  for (size_t i = 32; i < 64; ++i) values[i] = {2, 2, 2, 2};
  DeviceArray<int4> from(values), out(32);
  ASSERT_EQ(launch(overwrite_too_early, {1, 32}, from.data(), out.data()), cudaSuccess);
  EXPECT_NE(out.get()[0].x + out.get()[31].x, 2);
}
TEST(Matrix, AnOverwriteBeforeTheReadIsSeen) {
  if (kThreadSanitizer) return expect_race(overwrite_and_compare);
  for (const char* when : {"late", "early"}) {
    Setting async("EMULATION_ASYNC", when);
    overwrite_and_compare();
  }
}

}  // namespace
}  // namespace viaduct::test
