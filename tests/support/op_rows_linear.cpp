#include <cmath>

#include "core/ops/linear.hpp"
#include "tests/support/op_case.hpp"

namespace viaduct::test {
namespace {

using ops::Activation;

// The two activations whose products the rows fuse; the others are tested by themselves.
template <class R>
R value(Activation a, R x) {
  if (a == Activation::gelu) return x * R(0.5) * (R(1) + std::erf(x * R(M_SQRT1_2l)));
  return a == Activation::relu && x < 0 ? R(0) : x;
}
template <class R>
R slope(Activation a, R x) {
  if (a == Activation::gelu)
    return R(0.5) * (R(1) + std::erf(x * R(M_SQRT1_2l))) +
           x * std::exp(R(-0.5) * x * x) * R(0.398942280401432677939946l);
  return a == Activation::relu && x < 0 ? R(0) : R(1);
}
std::string name_of(Activation a) { return a == Activation::gelu ? "gelu/" : a == Activation::relu ? "relu/" : ""; }

Shape with_columns(Shape s, int64_t columns) {
  s.dim[s.rank - 1] = columns;
  return s;
}

struct Forward {
  bool bias = true, pre = false, residual = false;
  Activation activation = Activation::none;
};

OpCase linear(Shape s, int64_t N, Forward f) {
  int64_t M = s.rows(), K = s.last();
  Shape y = with_columns(s, N);
  std::vector<Operand> operands{in("x", s), in("weight", {N, K}, normal(0, 0.3))};
  if (f.bias) operands.push_back(in("bias", {N}));
  if (f.residual) operands.push_back(in("residual", y));
  operands.push_back(out("y", y));
  if (f.pre) operands.push_back(out("pre", y));
  auto backward = [=](Ctx& ctx, const Tensors& t) {
    auto scope = ctx.arena.scope("test");
    Tensor dpre = t["dy"];
    if (f.pre) {
      dpre = ctx.arena.temp(y, dpre.dtype);
      ops::activation_backward(ctx, dpre, t["dy"], t["pre"], f.activation);
    }
    ops::linear_weight_grad(ctx, t["dweight"], f.bias ? t["dbias"] : Tensor{}, dpre, t["x"]);
    ops::linear_input_grad(ctx, t["dx"], dpre, t["weight"]);
  };
  std::vector<std::string> inputs{"x", "weight"};
  if (f.bias) inputs.push_back("bias");
  if (f.activation != Activation::none && !f.pre) inputs.clear();
  return {.name = "linear/" + name_of(f.activation) + (f.bias ? "" : "no_bias/") + (f.pre ? "pre/" : "") +
                  (f.residual ? "residual/" : "") + dims(s) + "/" + std::to_string(N),
          .operands = operands,
          .run =
              [=](Ctx& ctx, const Tensors& t) {
                ops::LinearOptions o{.activation = f.activation};
                if (f.residual) o.residual = t["residual"];
                if (f.bias) o.bias = t["bias"];
                if (f.pre) o.pre = t["pre"];
                ops::linear(ctx, t["y"], t["x"], t["weight"], o);
              },
          .reference = reference([=](auto& v) {
            using R = real_of<decltype(v)>;
            auto &x = v["x"], &w = v["weight"], &out = v["y"];
            for (int64_t i = 0; i < M; ++i)
              for (int64_t j = 0; j < N; ++j) {
                R sum = 0;
                for (int64_t k = 0; k < K; ++k) sum += x[i * K + k] * w[j * K + k];
                if (f.bias) sum += v["bias"][j];
                if (f.pre) v["pre"][i * N + j] = sum;
                out[i * N + j] = (f.residual ? v["residual"][i * N + j] : R(0)) + value(f.activation, sum);
              }
          }),
          .gradient = {"y", inputs, backward},
          .aliases = f.residual ? std::vector<std::pair<std::string, std::string>>{{"y", "residual"}}
                                : std::vector<std::pair<std::string, std::string>>{},
          .flops = 2.0 * double(M * N * K)};
}

OpCase input_grad(Shape s, int64_t K, Activation a, bool accumulate = false) {
  int64_t M = s.rows(), N = s.last();
  Shape x = with_columns(s, K);
  std::vector<Operand> operands{in("dy", s), in("weight", {N, K}, normal(0, 0.3)),
                                accumulate ? inout("dx", x) : out("dx", x)};
  if (a != Activation::none) operands.push_back(in("pre", x));
  return {
      .name = "linear_input_grad/" + name_of(a) + (accumulate ? "accumulate/" : "") + dims(s) + "/" + std::to_string(K),
      .operands = operands,
      .run =
          [=](Ctx& ctx, const Tensors& t) {
            ops::LinearInputGradOptions o{.accumulate = accumulate, .activation = a};
            if (a != Activation::none) o.pre = t["pre"];
            ops::linear_input_grad(ctx, t["dx"], t["dy"], t["weight"], o);
          },
      .reference = reference([=](auto& v) {
        using R = real_of<decltype(v)>;
        auto &dy = v["dy"], &w = v["weight"], &dx = v["dx"];
        for (int64_t i = 0; i < M; ++i)
          for (int64_t k = 0; k < K; ++k) {
            R sum = 0;
            for (int64_t j = 0; j < N; ++j) sum += dy[i * N + j] * w[j * K + k];
            if (a != Activation::none) sum *= slope(a, v["pre"][i * K + k]);
            dx[i * K + k] = (accumulate ? dx[i * K + k] : R(0)) + sum;
          }
      }),
      .flops = 2.0 * double(M * N * K)};
}

OpCase weight_grad(Shape s, int64_t K, bool bias = true) {
  constexpr auto kStat = Operand::Type::stat;
  int64_t M = s.rows(), N = s.last();
  std::vector<Operand> operands{in("dy", s), in("x", with_columns(s, K)), inout("dweight", {N, K}, kStat)};
  if (bias) operands.push_back(inout("dbias", {N}, kStat));
  return {.name = "linear_weight_grad/" + std::string(bias ? "" : "no_bias/") + dims(s) + "/" + std::to_string(K),
          .operands = operands,
          .run =
              [=](Ctx& ctx, const Tensors& t) {
                ops::linear_weight_grad(ctx, t["dweight"], bias ? t["dbias"] : Tensor{}, t["dy"], t["x"]);
              },
          .reference = reference([=](auto& v) {
            auto &dy = v["dy"], &x = v["x"], &dw = v["dweight"];
            for (int64_t i = 0; i < M; ++i)
              for (int64_t j = 0; j < N; ++j) {
                if (bias) v["dbias"][j] += dy[i * N + j];
                for (int64_t k = 0; k < K; ++k) dw[j * K + k] += dy[i * N + j] * x[i * K + k];
              }
          }),
          .flops = 2.0 * double(M * N * K)};
}

const Forward kPlain{}, kNoBias{.bias = false}, kAdd{.residual = true};
const Forward kGelu{.activation = Activation::gelu}, kSaved{.pre = true, .activation = Activation::gelu};

const AddCases rows{{
    linear({1, 1}, 1, kPlain),
    linear({3, 37}, 41, kPlain),
    linear({2, 5, 64}, 10, kNoBias),
    linear({3, 100}, 99, kAdd),
    linear({3, 100}, 99, {.bias = false, .residual = true}),
    linear({197, 33}, 65, kGelu),
    linear({197, 33}, 65, kSaved),
    linear({5, 16}, 33, {.pre = true, .activation = Activation::relu}),
    linear({300, 520}, 270, kPlain),
    input_grad({1, 1}, 1, Activation::none),
    input_grad({3, 41}, 37, Activation::none),
    input_grad({3, 99}, 100, Activation::none, true),
    input_grad({2, 5, 31}, 64, Activation::gelu),
    input_grad({197, 65}, 33, Activation::relu),
    weight_grad({1, 1}, 1),
    weight_grad({3, 41}, 37),
    weight_grad({2, 5, 64}, 10, false),
    weight_grad({197, 65}, 33),
    weight_grad({600, 260}, 300),
    measured(linear({1576, 768}, 768, kAdd)),
    measured(linear({1576, 768}, 2304, kPlain)),
    measured(linear({1576, 768}, 3072, kGelu)),
    measured(linear({1576, 768}, 3072, kSaved)),
    measured(linear({1576, 3072}, 768, kAdd)),
    measured(input_grad({1576, 768}, 768, Activation::none)),
    measured(input_grad({1576, 2304}, 768, Activation::none)),
    measured(input_grad({1576, 3072}, 768, Activation::none)),
    measured(input_grad({1576, 768}, 3072, Activation::gelu)),
    measured(weight_grad({1576, 768}, 768)),
    measured(weight_grad({1576, 2304}, 768)),
    measured(weight_grad({1576, 3072}, 768)),
    measured(weight_grad({1576, 768}, 3072)),
}};

}  // namespace
}  // namespace viaduct::test
