// Products on cuda, with what follows them inside cuBLASLt and apart, against the CPU and against plain loops.
#include "core/ops/cuda/product.hpp"

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "core/base/philox.hpp"
#include "core/ops/cuda/product_choice.hpp"
#include "core/ops/linear.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct::test {
namespace {

using ops::Activation;

// Tensors of a device that stand `misaligned` elements off; their numbers are exact in bf16.
class Operands {
 public:
  Operands(Ctx& ctx, int64_t misaligned) : ctx_(ctx), misaligned_(misaligned) {}
  Tensor make(Shape shape, DType dtype) {
    memory_.emplace_back(ctx_.device(), 64 + (shape.numel() + misaligned_) * size_of(dtype));
    Tensor t = memory_.back().view(misaligned_ * size_of(dtype), shape, dtype);
    RandomSequence random(memory_.size(), Draw::init);
    dispatch(dtype, [&]<class T>() {
      std::vector<T> host(size_t(shape.numel()));
      for (T& x : host) x = T(float(bf16(float(random.uniform(-1, 1)))));
      transfer(t, {host.data(), shape, dtype, Device::cpu()}, ctx_.stream);
      ctx_.stream.synchronize();
    });
    return t;
  }
  std::vector<double> values(const Tensor& t) {
    std::vector<double> all;
    dispatch(t.dtype, [&]<class T>() {
      std::vector<T> host(size_t(t.numel()));
      transfer({host.data(), t.shape, t.dtype, Device::cpu()}, t, ctx_.stream);
      ctx_.stream.synchronize();
      all.assign(host.begin(), host.end());
    });
    return all;
  }

 private:
  Ctx& ctx_;
  int64_t misaligned_;
  std::vector<Buffer> memory_;
};

struct Layer {
  Activation activation = Activation::none;
  bool saved = false;  // the input of the activation
  int64_t in = 40, out = 64, misaligned = 0;
};

// y, pre, dx, dweight and dbias of a layer, by forward and both halves of backward.
std::vector<std::vector<double>> results(Device device, DType dtype, const Layer& l) {
  TestCtx ctx(dtype, device, 34 << 20);
  Operands operands(ctx, l.misaligned);
  DType stat = stat_dtype(dtype);
  Tensor x = operands.make({3, 11, l.in}, dtype), w = operands.make({l.out, l.in}, dtype);
  Tensor b = operands.make({l.out}, dtype), dy = operands.make({3, 11, l.out}, dtype);
  Tensor y = operands.make(dy.shape, dtype), pre = operands.make(dy.shape, dtype);
  Tensor dx = operands.make(x.shape, dtype), dw = operands.make(w.shape, stat), db = operands.make(b.shape, stat);
  ops::linear(ctx, y, x, w, {.bias = b, .activation = l.activation, .pre = l.saved ? pre : Tensor{}});
  ops::linear_input_grad(ctx, dx, dy, w,
                         {.activation = l.activation, .pre = l.activation == Activation::none ? Tensor{} : x});
  ops::linear_weight_grad(ctx, dw, db, dy, x);
  return {operands.values(y), operands.values(pre), operands.values(dx), operands.values(dw), operands.values(db)};
}

double largest_error(const std::vector<double>& found, const std::vector<double>& truth) {
  double error = 0;
  for (size_t i = 0; i < truth.size(); ++i)
    error = std::max(error, std::isfinite(found[i]) ? std::abs(found[i] - truth[i]) : INFINITY);
  return error;
}

void expect_no_worse_than_the_cpu(DType dtype, const Layer& l) {
  auto truth = results(Device::cpu(), DType::f64, l), cpu = results(Device::cpu(), dtype, l);
  auto cuda = results(Device::cuda(), dtype, l);
  constexpr const char* names[] = {"y", "pre", "dx", "dweight", "dbias"};
  for (size_t r = 0; r < truth.size(); ++r) {
    double largest = 0, roundoff = dtype == DType::bf16 && r < 3 ? 0x1p-8 : 0x1p-24;
    for (double t : truth[r]) largest = std::max(largest, std::abs(t));
    EXPECT_LE(largest_error(cuda[r], truth[r]), 2 * std::max(largest_error(cpu[r], truth[r]), roundoff * largest))
        << names[r] << " in " << name_of(dtype) << ", activation " << int(l.activation) << ", saved " << l.saved << ", "
        << l.in << " to " << l.out << ", misaligned by " << l.misaligned;
  }
}

TEST(CudaProducts, LayersAreNoWorseThanOnTheCpu) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (auto a : {Activation::none, Activation::gelu, Activation::gelu_tanh, Activation::quick_gelu, Activation::relu,
                   Activation::tanh})
      for (const Layer& layer : {Layer{a}, Layer{a, true, 40, 64, 1}, Layer{a, true, 257, 37}})
        expect_no_worse_than_the_cpu(dtype, layer);
}

// What cuBLASLt can do after a product is the same when a kernel of ours does it.
TEST(CudaProducts, EpiloguesAreNoWorseInsideAndApart) {
  auto& choice = ops::cuda::ProductChoice::of_process();
  for (DType dtype : {DType::f32, DType::bf16})
    for (bool apart : {false, true})
      for (bool saved : {false, true}) {
        Layer layer{Activation::gelu_tanh, saved, 48, 72};
        TestCtx meta(dtype, Device::meta(Device::Kind::cuda));
        Tensor x = meta.arena.keep({3, 11, 48}, dtype), y = meta.arena.keep({3, 11, 72}, dtype);
        Tensor w = meta.arena.keep({72, 48}, dtype), b = meta.arena.keep({72}, dtype);
        Tensor dw = meta.arena.keep({72, 48}, DType::f32), db = meta.arena.keep({72}, DType::f32);
        ops::linear(meta, y, x, w, {.bias = b, .activation = layer.activation, .pre = saved ? y : Tensor{}});
        ops::linear_input_grad(meta, x, y, w, {.activation = layer.activation, .pre = x});
        ops::linear_weight_grad(meta, dw, db, y, x);
        auto keys = choice.without_algorithm();
        std::erase_if(keys, [](const auto& key) {  // what other tests planned
          return std::set{key.rows, key.columns, key.depth} != std::set<int64_t>{33, 48, 72};
        });
        for (const auto& key : keys) {
          EXPECT_NE(key.epilogue, ops::cuda::Epilogue::none);
          auto answers = ops::cuda::ProductPlan(0, key).heuristics(1);
          ASSERT_FALSE(answers.empty()) << describe(key);
          choice.choose(
              key, apart ? ops::cuda::ProductAlgorithm{.apart = true} : ops::cuda::ProductPlan::attributes(answers[0]));
          EXPECT_EQ(choice.fuses(0, key), !apart);
        }
        expect_no_worse_than_the_cpu(dtype, layer);
        for (const auto& key : keys) choice.forget(key);
      }
}

TEST(CudaProducts, AreCapturedIntoAGraph) {
  TestCtx ctx(DType::bf16, Device::cuda(), 34 << 20);
  Operands operands(ctx, 0);
  Tensor x = operands.make({33, 40}, DType::bf16), w = operands.make({24, 40}, DType::bf16);
  Tensor b = operands.make({24}, DType::bf16), y = operands.make({33, 24}, DType::bf16);
  auto run = [&] { ops::linear(ctx, y, x, w, {.bias = b, .activation = Activation::gelu}); };
  run();
  std::vector<double> expected = operands.values(y);
  auto stream = static_cast<cudaStream_t>(ctx.stream.native());
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  run();
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  fill_zero(y, ctx.stream);
  ASSERT_EQ(cudaGraphLaunch(executable, stream), cudaSuccess);
  EXPECT_EQ(operands.values(y), expected);
  cudaGraphExecDestroy(executable), cudaGraphDestroy(graph);
}

struct Types {
  DType operands, result;
};

// By cuBLASLt and by the kernel for what it refuses: within the bound of fp32 sums in any order (Higham, Accuracy and
// Stability of Numerical Algorithms, 3.1), and half a unit of the result's last place.
TEST(CudaProducts, AnyTransposesAndTypes) {
  constexpr int64_t rows = 37, columns = 19, depth = 33;
  for (Types types : {Types{DType::f32, DType::f32}, {DType::bf16, DType::bf16}, {DType::bf16, DType::f32}})
    for (int transposes = 0; transposes < 4; ++transposes)
      for (bool plainly : {false, true}) {
        TestCtx ctx(types.operands, Device::cuda(), 34 << 20);
        Operands operands(ctx, 1);
        bool lt = transposes & 1, rt = transposes & 2;
        Tensor left = operands.make(lt ? Shape{depth, rows} : Shape{rows, depth}, types.operands);
        Tensor right = operands.make(rt ? Shape{columns, depth} : Shape{depth, columns}, types.operands);
        Tensor added = operands.make({rows, columns}, types.result), d = operands.make(added.shape, types.result);
        Tensor bias = operands.make({columns}, types.operands);
        ops::cuda::Product p{.d = d,
                             .left = left,
                             .right = right,
                             .left_transposed = lt,
                             .right_transposed = rt,
                             .added = added,
                             .bias = bias};
        auto scope = ctx.arena.scope("test");
        plainly ? multiply_plainly(ctx, p) : multiply(ctx, p);
        auto a = operands.values(left), b = operands.values(right), c = operands.values(added);
        auto row = operands.values(bias), found = operands.values(d);
        for (int64_t i = 0; i < rows; ++i)
          for (int64_t j = 0; j < columns; ++j) {
            double sum = c[size_t(i * columns + j)] + row[size_t(j)],
                   size = std::abs(c[size_t(i * columns + j)]) + std::abs(row[size_t(j)]);
            for (int64_t k = 0; k < depth; ++k) {
              double product =
                  a[size_t(lt ? k * rows + i : i * depth + k)] * b[size_t(rt ? j * depth + k : k * columns + j)];
              sum += product, size += std::abs(product);
            }
            double roundoff = types.result == DType::bf16 ? 0x1p-8 : 0x1p-24;
            ASSERT_NEAR(found[size_t(i * columns + j)], sum,
                        (depth + 2) * 0x1p-24 * size + roundoff * std::abs(sum) * 1.01)
                << i << ", " << j << ", transposes " << transposes << ", plainly " << plainly;
          }
      }
}

}  // namespace
}  // namespace viaduct::test
