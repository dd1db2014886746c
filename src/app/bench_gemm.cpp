// The matrix products of a ViT block in training: forward, gradients of the input and of the weight.
#include "app/bench_ops.hpp"
#include "core/ops/linear.hpp"

namespace viaduct::app {
namespace {

using Tensors = std::vector<Tensor>;

// y [rows, out] = x [rows, in] W^T
struct Layer {
  const char* name;
  int64_t rows, in, out;
  DType dtype;
  ops::Activation activation = ops::Activation::none;

  std::string text() const { return fmt::format("{}x{}x{}", rows, out, in); }
  double flops() const { return 2.0 * double(rows) * double(in) * double(out); }
  OpOperand x() const { return {{rows, in}, dtype}; }
  OpOperand y() const { return {{rows, out}, dtype}; }
  OpOperand weight() const { return {{out, in}, dtype}; }
};

MeasuredOp forward(const Layer& l) {
  std::vector<OpOperand> operands{l.y(), l.x(), l.weight(), {{l.out}, l.dtype}};
  const bool activated = l.activation != ops::Activation::none;
  if (activated) operands.push_back(l.y());
  return {std::string(l.name), l.text(), operands,
          [=](Ctx& ctx, const Tensors& t) {
            ops::linear(ctx, t[0], t[1], t[2],
                        {.bias = t[3], .activation = l.activation, .pre = activated ? t[4] : Tensor{}});
          },
          l.flops()};
}

MeasuredOp input_grad(const Layer& l) {
  return {std::string(l.name) + "_input_grad",
          l.text(),
          {l.x(), l.y(), l.weight()},
          [](Ctx& ctx, const Tensors& t) { ops::linear_input_grad(ctx, t[0], t[1], t[2]); },
          l.flops()};
}

MeasuredOp weight_grad(const Layer& l) {
  const OpOperand dweight{{l.out, l.in}, DType::f32, true}, dbias{{l.out}, DType::f32, true};
  return {std::string(l.name) + "_weight_grad",
          l.text(),
          {dweight, dbias, l.y(), l.x()},
          [](Ctx& ctx, const Tensors& t) { ops::linear_weight_grad(ctx, t[0], t[1], t[2], t[3]); },
          l.flops()};
}

}  // namespace

BenchResult bench_gemm(const Invocation& call) {
  const VitConfig vit = vit_shape(call).config;
  const int64_t rows = op_batch_size(call.config) * vit.tokens(), c = vit.hidden_size, f = vit.intermediate_size;
  const DType dtype = op_dtype(call.config);
  std::vector<MeasuredOp> ops;
  for (const Layer& layer : {Layer{"qkv", rows, c, 3 * c, dtype},
                             {"output", rows, c, c, dtype},
                             {"up", rows, c, f, dtype, vit.activation()},
                             {"down", rows, f, c, dtype}})
    for (const MeasuredOp& op : {forward(layer), input_grad(layer), weight_grad(layer)}) ops.push_back(op);
  return bench_ops(call, ops);
}

}  // namespace viaduct::app
