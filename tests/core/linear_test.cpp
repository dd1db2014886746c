// What the case table cannot say about linear layers: copies of weights, mixed dtypes, empty batches.
#include "core/ops/linear.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "core/base/philox.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct::test {
namespace {

template <class T>
Tensor filled(Arena& arena, Shape shape, uint32_t seed) {
  Tensor t = arena.keep(shape, dtype_of<T>);
  RandomSequence random(seed, Draw::init);
  if (!t.device.is_meta())
    for (int64_t i = 0; i < t.numel(); ++i) data<T>(t)[i] = T(float(random.uniform(-1, 1)));
  return t;
}

template <class T>
double at(const Tensor& t, int64_t i) {
  return double(data<T>(t)[i]);
}

TEST(Linear, CopiesOfWeightsAreRenewedWhenValuesChange) {
  TestCtx ctx(DType::bf16);
  Tensor x = filled<bf16>(ctx.arena, {4, 64}, 1), w = filled<bf16>(ctx.arena, {32, 64}, 2);
  Tensor y = ctx.arena.keep({4, 32}, DType::bf16), dx = ctx.arena.keep({4, 64}, DType::bf16);
  auto run = [&] {
    ops::linear(ctx, y, x, w);
    ops::linear_input_grad(ctx, dx, y, w);
    return at<bf16>(y, 5) + at<bf16>(dx, 7);
  };
  double before = run();
  int64_t bytes = ctx.packed.bytes();
  for (int64_t i = 0; i < w.numel(); ++i) data<bf16>(w)[i] = bf16(2 * float(data<bf16>(w)[i]));
  ctx.packed.values_changed();
  double y_before = at<bf16>(y, 5);
  EXPECT_NE(run(), before);
  EXPECT_EQ(at<bf16>(y, 5), 2 * y_before);  // doubling is exact
  EXPECT_EQ(ctx.packed.bytes(), bytes);
}

// What is added and applied to a product as well: in fp32 a row has the bits that it has alone.
TEST(Linear, ARowIsAFunctionOfItselfAlone) {
  const int64_t all = 40 * 53, K = 150, N = 301;
  TestCtx ctx(DType::f32, Device::cpu(), 256 << 20);
  Tensor x = filled<float>(ctx.arena, {all, K}, 1), w = filled<float>(ctx.arena, {N, K}, 2);
  Tensor bias = filled<float>(ctx.arena, {N}, 3), added = filled<float>(ctx.arena, {all, N}, 4);
  auto expect_same = [](Tensor some, Tensor whole, int64_t begin) {
    Tensor of_whole = whole.slice(begin, begin + some.shape[0]);
    for (int64_t i = 0; i < some.numel(); ++i)
      ASSERT_EQ(data<float>(some)[i], data<float>(of_whole)[i]) << some.shape[0] << " rows, element " << i;
  };
  for (auto a : {ops::Activation::none, ops::Activation::gelu, ops::Activation::gelu_tanh}) {
    auto run = [&](int64_t begin, int64_t end) {
      auto make = [&](int64_t columns) { return ctx.arena.keep({end - begin, columns}, DType::f32); };
      Tensor y = make(N), pre = make(N), sum = make(N), dx = make(K), rows = x.slice(begin, end);
      ops::linear(ctx, y, rows, w, {.bias = bias, .activation = a, .pre = pre});
      ops::linear(ctx, sum, rows, w, {.bias = bias, .residual = added.slice(begin, end)});
      ops::linear_input_grad(ctx, dx, y, w, {.activation = a, .pre = a == ops::Activation::none ? Tensor{} : rows});
      return std::array{y, pre, sum, dx};
    };
    auto whole = run(0, all);
    for (int64_t rows : {1, 2, 7, 13, 400, 2000}) {
      auto some = run(all - rows - 3, all - 3);
      for (size_t i = 0; i < some.size(); ++i) expect_same(some[i], whole[i], all - rows - 3);
    }
  }
}

// A step on meta holds as many bytes of packed weights, and as much working memory, as the step itself.
template <class T>
void expect_planned(DType results) {
  int64_t packed[2], peak[2];
  for (Device device : {Device::meta(), Device::cpu()}) {
    Buffer weights(device, 1 << 20);  // addresses on meta too: weights are known by theirs
    TestCtx ctx(dtype_of<T>, device);
    Tensor x = filled<T>(ctx.arena, {7, 48}, 1), dx = ctx.arena.keep({7, 48}, dtype_of<T>);
    Tensor y = ctx.arena.keep({7, 20}, results);
    for (int64_t layer = 0; layer < 2; ++layer) {
      Tensor w = weights.view(layer * 20 * 48 * 8, {20, 48}, dtype_of<T>);
      Tensor dw = ctx.arena.keep({20, 48}, DType::f32), db = ctx.arena.keep({20}, DType::f32);
      for (int pass = 0; pass < 2; ++pass) {
        ops::linear(ctx, y, x, w);
        ops::linear_input_grad(ctx, dx, y, w);
        ops::linear_weight_grad(ctx, dw, db, y, x);
      }
    }
    packed[device.is_meta()] = ctx.packed.bytes(), peak[device.is_meta()] = ctx.arena.peak().bytes;
  }
  EXPECT_EQ(packed[0], packed[1]);
  EXPECT_EQ(peak[0], peak[1]);
  EXPECT_EQ(packed[0] > 0, dtype_of<T> == DType::bf16);
}

TEST(Linear, PlansItsMemory) {
  expect_planned<float>(DType::f32);
  expect_planned<bf16>(DType::bf16);
  expect_planned<bf16>(DType::f32);
}

// Logits: bf16 operands, fp32 results, no rounding but that of the sum; their gradient comes back in fp32.
TEST(Linear, Bf16ProductsMayEndInFp32) {
  TestCtx ctx(DType::bf16);
  Tensor x = filled<bf16>(ctx.arena, {3, 40}, 1), w = filled<bf16>(ctx.arena, {10, 40}, 2);
  Tensor b = filled<bf16>(ctx.arena, {10}, 3), y = ctx.arena.keep({3, 10}, DType::f32);
  Tensor dx = ctx.arena.keep({3, 40}, DType::bf16), dw = ctx.arena.keep({10, 40}, DType::f32);
  ops::linear(ctx, y, x, w, {.bias = b});
  ops::linear_input_grad(ctx, dx, y, w);
  ops::linear_weight_grad(ctx, dw, {}, y, x);
  double dx0 = 0, dw0 = 0;
  for (int64_t j = 0; j < 10; ++j) {
    double sum = at<bf16>(b, j);
    for (int64_t k = 0; k < 40; ++k) sum += at<bf16>(x, k) * at<bf16>(w, j * 40 + k);
    EXPECT_NEAR(at<float>(y, j), sum, 1e-5);
    dx0 += at<float>(y, j) * at<bf16>(w, j * 40);
  }
  for (int64_t i = 0; i < 3; ++i) dw0 += at<float>(y, i * 10) * at<bf16>(x, i * 40);
  EXPECT_NEAR(at<bf16>(dx, 0), dx0, 0.02 * std::abs(dx0) + 0.02);
  EXPECT_NEAR(at<float>(dw, 0), dw0, 0.02 * std::abs(dw0) + 0.02);
}

TEST(Linear, ABatchWithoutSamplesIsNoError) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f64}) {
    TestCtx ctx(dtype);
    Tensor x = ctx.arena.keep({0, 5, 16}, dtype), y = ctx.arena.keep({0, 5, 8}, dtype),
           w = ctx.arena.keep({8, 16}, dtype);
    DType stat = stat_dtype(dtype);
    Tensor dw = ctx.arena.keep({8, 16}, stat), db = ctx.arena.keep({8}, stat);
    ops::linear(ctx, y, x, w, {.activation = ops::Activation::gelu});
    ops::linear_input_grad(ctx, x, y, w);
    ops::linear_weight_grad(ctx, dw, db, y, x);
    for (int64_t i = 0; i < dw.bytes(); ++i) ASSERT_EQ(static_cast<char*>(dw.data)[i], 0);
  }
}

TEST(Linear, SaysWhichOperandIsWrong) {
  TestCtx ctx(DType::f32);
  Tensor x = ctx.arena.keep({3, 16}, DType::f32), y = ctx.arena.keep({3, 8}, DType::f32);
  Tensor w = ctx.arena.keep({8, 12}, DType::f32);
  try {
    ops::linear(ctx, y, x, w);
    FAIL() << "a weight of another width was accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("linear: x should be fp32 [3, 12]"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace viaduct::test
