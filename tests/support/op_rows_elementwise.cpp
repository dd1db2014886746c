#include <cmath>

#include "core/ops/elementwise.hpp"
#include "tests/support/op_case.hpp"

namespace viaduct::test {
namespace {

using ops::Activation;

// The activations as their papers write them; slope is the derivative.
struct Gelu {
  static constexpr Activation kind = Activation::gelu;
  static constexpr const char* name = "gelu";
  template <class R>
  static R value(R x) {
    return x * R(0.5) * (R(1) + std::erf(x * R(M_SQRT1_2l)));
  }
  template <class R>
  static R slope(R x) {
    return R(0.5) * (R(1) + std::erf(x * R(M_SQRT1_2l))) +
           x * std::exp(R(-0.5) * x * x) * R(0.398942280401432677939946l);
  }
};
struct GeluTanh {
  static constexpr Activation kind = Activation::gelu_tanh;
  static constexpr const char* name = "gelu_tanh";
  template <class R>
  static R inner(R x) {
    return R(0.797884560802865355879892l) * (x + R(0.044715l) * x * x * x);
  }
  template <class R>
  static R value(R x) {
    return R(0.5) * x * (R(1) + std::tanh(inner(x)));
  }
  template <class R>
  static R slope(R x) {
    R t = std::tanh(inner(x));
    R inner_slope = R(0.797884560802865355879892l) * (R(1) + R(3) * R(0.044715l) * x * x);
    return R(0.5) * (R(1) + t) + R(0.5) * x * (R(1) - t * t) * inner_slope;
  }
};
struct QuickGelu {
  static constexpr Activation kind = Activation::quick_gelu;
  static constexpr const char* name = "quick_gelu";
  template <class R>
  static R sigmoid(R x) {
    return R(1) / (R(1) + std::exp(R(-1.702l) * x));
  }
  template <class R>
  static R value(R x) {
    return x * sigmoid(x);
  }
  template <class R>
  static R slope(R x) {
    return sigmoid(x) + R(1.702l) * x * sigmoid(x) * (R(1) - sigmoid(x));
  }
};
struct Relu {
  static constexpr Activation kind = Activation::relu;
  static constexpr const char* name = "relu";
  template <class R>
  static R value(R x) {
    return x > 0 ? x : R(0);
  }
  template <class R>
  static R slope(R x) {
    return x > 0 ? R(1) : R(0);
  }
};
struct Tanh {
  static constexpr Activation kind = Activation::tanh;
  static constexpr const char* name = "tanh";
  template <class R>
  static R value(R x) {
    return std::tanh(x);
  }
  template <class R>
  static R slope(R x) {
    return R(1) - std::tanh(x) * std::tanh(x);
  }
};

template <class A>
OpCase activation(Shape s) {
  return {.name = "activation/" + std::string(A::name) + "/" + dims(s),
          .operands = {in("x", s, normal(0, 2)), out("y", s)},
          .run = [](Ctx& ctx, const Tensors& t) { ops::activation(ctx, t["y"], t["x"], A::kind); },
          .reference = reference([](auto& v) {
            for (size_t i = 0; i < v["x"].size(); ++i) v["y"][i] = A::value(v["x"][i]);
          }),
          .gradient = {"y",
                       {"x"},
                       [](Ctx& ctx, const Tensors& t) {
                         ops::activation_backward(ctx, t["dx"], t["dy"], t["x"], A::kind);
                       }},
          .aliases = {{"y", "x"}}};
}

template <class A>
OpCase activation_backward(Shape s) {
  return {.name = "activation_backward/" + std::string(A::name) + "/" + dims(s),
          .operands = {in("x", s, normal(0, 2)), in("dy", s), out("dx", s)},
          .run = [](Ctx& ctx, const Tensors& t) { ops::activation_backward(ctx, t["dx"], t["dy"], t["x"], A::kind); },
          .reference = reference([](auto& v) {
            for (size_t i = 0; i < v["x"].size(); ++i) v["dx"][i] = v["dy"][i] * A::slope(v["x"][i]);
          }),
          .aliases = {{"dx", "dy"}, {"dx", "x"}}};
}

OpCase add(Shape s) {
  return {.name = "add/" + dims(s),
          .operands = {in("a", s), in("b", s), out("y", s)},
          .run = [](Ctx& ctx, const Tensors& t) { ops::add(ctx, t["y"], t["a"], t["b"]); },
          .reference = reference([](auto& v) {
            for (size_t i = 0; i < v["y"].size(); ++i) v["y"][i] = v["a"][i] + v["b"][i];
          }),
          .aliases = {{"y", "a"}, {"y", "b"}},
          .exact = true};
}

// Between the dtype under test and `other`.
OpCase copy(Shape s, Operand::Type other, bool from_other) {
  constexpr auto value = Operand::Type::value;
  constexpr const char* types[] = {"same", "fp32", "fp64"};
  return {.name = "copy/" + std::string(from_other ? "from_" : "to_") + types[int(other)] + "/" + dims(s),
          .operands = {in("x", s, normal(), from_other ? other : value), out("y", s, from_other ? value : other)},
          .run = [](Ctx& ctx, const Tensors& t) { ops::copy(ctx, t["y"], t["x"]); },
          .reference = reference([](auto& v) { v["y"] = v["x"]; }),
          .on_cuda = other != Operand::Type::f64,
          .exact = true};
}

OpCase fill(Shape s) {
  return {.name = "fill/" + dims(s),
          .operands = {out("y", s)},
          .run = [](Ctx& ctx, const Tensors& t) { ops::fill(ctx, t["y"], 0.3); },
          .reference = reference([](auto& v) {
            for (auto& y : v["y"]) y = std::remove_reference_t<decltype(y)>(0.3);
          }),
          .exact = true};
}

OpCase dropout(Shape s, float p) {
  constexpr uint32_t kOp = 7;
  auto key = [](RandomSequence&, int64_t i) { return double(1234567891011 * (i + 1)); };
  auto run = [=](const char* to, const char* from) {
    return [=](Ctx& ctx, const Tensors& t) {
      Ctx training = ctx;
      training.training = true, training.sample_keys = t["keys"];
      ops::dropout(training, t[to], t[from], {p, kOp});
    };
  };
  return {.name = "dropout/" + std::to_string(int(p * 100)) + "/" + dims(s),
          .operands = {in("x", s), in("keys", {s[0]}, key, Operand::Type::i64), out("y", s)},
          .run = run("y", "x"),
          .reference = reference([=](auto& v) {
            using R = real_of<decltype(v)>;
            int64_t inside = s.numel() / s[0];
            for (int64_t i = 0; i < s.numel(); ++i) {
              uint64_t sample_key = uint64_t(1234567891011 * (i / inside + 1));
              Philox random = philox(sample_key, uint64_t(i % inside / 4), uint64_t(Draw::dropout) << 32 | kOp);
              bool dropped = uniform(random.v[i % inside % 4]) < p;
              v["y"][size_t(i)] = dropped ? R(0) : v["x"][size_t(i)] / (R(1) - R(p));
            }
          }),
          .gradient = {"y", {"x"}, run("dx", "dy")},
          .aliases = {{"y", "x"}}};
}

const AddCases rows{{
    activation<Gelu>({3, 5, 37}),
    activation<GeluTanh>({3, 5, 37}),
    activation<QuickGelu>({3, 5, 37}),
    activation<Relu>({3, 5, 37}),
    activation<Tanh>({3, 5, 37}),
    activation<Gelu>({40000}),
    activation_backward<Gelu>({40000}),
    activation_backward<GeluTanh>({3, 5, 37}),
    activation_backward<QuickGelu>({3, 5, 37}),
    activation_backward<Relu>({3, 5, 37}),
    activation_backward<Tanh>({3, 5, 37}),
    add({40000}),
    copy({40000}, Operand::Type::value, false),
    copy({3, 37}, Operand::Type::stat, false),
    copy({3, 37}, Operand::Type::stat, true),
    copy({3, 37}, Operand::Type::f64, true),
    fill({3, 37}),
    dropout({3, 7, 333}, 0.1f),
    dropout({2, 5}, 0.5f),
    measured(activation<Gelu>({16, 197, 3072})),
    measured(activation_backward<Gelu>({16, 197, 3072})),
    measured(activation<QuickGelu>({16, 197, 3072})),
    measured(add({16, 197, 768})),
    measured(dropout({16, 197, 768}, 0.1f)),
}};

}  // namespace
}  // namespace viaduct::test
