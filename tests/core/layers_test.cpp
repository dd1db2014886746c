// What holds for every layer: gradients, frozen parameters, recomputation, memory plan, low precision.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <optional>

#include "core/base/philox.hpp"
#include "core/nn/encoder_block.hpp"
#include "core/nn/pooler.hpp"
#include "core/nn/post_norm_layers.hpp"
#include "core/nn/recomputed.hpp"
#include "core/ops/workspace.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct::nn {
namespace {

constexpr int64_t B = 3, Tx = 5, Ty = 7, W = 12, kHeads = 3, kWide = 20;

struct Setup {
  DType dtype = DType::f64;
  float dropout = 0;
  bool frozen = false, recompute = false, masks = true;
  bool accumulate = false;  // into the gradient of the other stream
  Device device = Device::cpu();
};

// What a layer reads and what its backward writes; y is the other stream, of cross layers only.
struct Streams {
  Tensor x, y, x_mask, y_mask, dx, dy;
};

PostNormOptions post_norm_options(float dropout) {
  return {.width = W,
          .heads = kHeads,
          .mlp_width = kWide,
          .activation = ops::Activation::gelu,
          .eps = 1e-5,
          .stddev = 0.4f,
          .hidden_dropout = dropout,
          .attention_dropout = dropout,
          .first_op = 10};
}

struct Encoder {
  using Layer = EncoderBlock;
  static constexpr bool kOther = false;
  static Layer make(ParameterStore& store, float dropout) {
    return Layer(store, {"norm1", "qkv", "out", "norm2", "up", "down"},
                 {.width = W,
                  .heads = kHeads,
                  .mlp_width = kWide,
                  .activation = ops::Activation::quick_gelu,
                  .eps = 1e-5,
                  .qkv_bias = true,
                  .init = {0.4f, 0.3f, 0.4f, 0.3f},
                  .hidden_dropout = dropout,
                  .attention_dropout = dropout,
                  .first_op = 10});
  }
  static Tensor inputs(const Streams& s) { return s.x; }
};

struct Text {
  using Layer = TextLayer;
  static constexpr bool kOther = false;
  static Layer make(ParameterStore& store, float dropout) { return Layer(store, "p.", post_norm_options(dropout)); }
  static Layer::Inputs inputs(const Streams& s) { return {s.x, s.x_mask}; }
};

struct Cross {
  using Layer = CrossLayer;
  static constexpr bool kOther = true;
  static Layer make(ParameterStore& store, float dropout) { return Layer(store, "p.", post_norm_options(dropout)); }
  static Layer::Inputs inputs(const Streams& s) { return {s.x, s.x_mask, s.y, s.y_mask}; }
};

// A layer, all rows of whose output are read, or only those of token 0.
template <class K, bool first>
struct Reads : K {
  static constexpr bool kFirst = first;
};

// A layer with memory. The loss is the sum of `weights` times its output.
template <class K>
struct Rig {
  explicit Rig(const Setup& setup)
      : setup(setup), memory(setup.device, 1 << 20, setup.dtype), work(setup.device, 1 << 20, setup.dtype) {
    store.block("trained", [&] { store.add("beside", {1}); });
    store.block(
        "layer", [&] { layer.emplace(K::make(store, setup.dropout)); }, setup.frozen);
    store.materialize(setup.device, setup.dtype, true);
    store.initialize(3);
    RandomSequence random(5, Draw::scene);
    auto make = [&](Shape shape, DType dtype, auto value) {
      Tensor t = memory.arena.keep(shape, dtype);
      if (setup.device.is_meta()) return t;
      Tensor wide = memory.arena.keep(shape, DType::f64);
      for (int64_t i = 0; i < t.numel(); ++i) data<double>(wide)[i] = value(i);
      if (dtype == DType::i32)
        std::copy_n(data<double>(wide), t.numel(), data<int32_t>(t));
      else
        ops::copy(memory.ctx, t, wide);
      return t;
    };
    auto draw = [&](int64_t) { return random.uniform(-1, 1); };
    for (Parameter& p : store.parameters())  // biases and norms that are not trivial
      if (p.shape.rank == 1 && !setup.device.is_meta())
        ops::copy(memory.ctx, p.value, make(p.shape, setup.dtype, [&](int64_t) { return 0.5 + random.uniform(); }));
    s.x = make({B, Tx, W}, setup.dtype, draw), s.y = make({B, Ty, W}, setup.dtype, draw);
    s.dx = make({B, Tx, W}, setup.dtype, draw), s.dy = make({B, Ty, W}, setup.dtype, [](int64_t) { return 1.0; });
    weights = make(K::kFirst ? Shape{B, W} : Shape{B, Tx, W}, setup.dtype, draw);
    out = make(weights.shape, setup.dtype, draw), d = make(weights.shape, setup.dtype, draw);
    if (setup.masks) {  // the last tokens of some samples
      s.x_mask = make({B, Tx}, DType::i32, [](int64_t i) { return i % Tx < Tx - i / Tx ? 1.0 : 0.0; });
      s.y_mask = make({B, Ty}, DType::i32, [](int64_t i) { return i % Ty < 3 + i / Ty ? 1.0 : 0.0; });
    }
    work.ctx.sample_keys = memory.arena.keep({B}, DType::i64);
    for (int64_t b = 0; b < B && !setup.device.is_meta(); ++b)
      data<int64_t>(work.ctx.sample_keys)[b] = int64_t(sample_key(1, 2, uint64_t(b)));
    work.ctx.training = true;
  }

  // Forward and backward, from the same start every time.
  void step() {
    Ctx& ctx = work.ctx;
    Arena::Mark mark = ctx.arena.mark();
    work.packed.values_changed();
    store.zero_gradients(test::host_stream());
    ops::fill(ctx, s.dy, 1), ops::copy(ctx, d, weights);
    const auto in = K::inputs(s);
    const CrossLayer::OtherGrad other{s.dy, setup.accumulate};
    typename K::Layer::Saved saved;
    if constexpr (K::kFirst) {
      layer->forward_first_token(ctx, out, in, &saved);
      if constexpr (K::kOther)
        layer->backward_first_token(ctx, s.dx, d, other, saved);
      else
        layer->backward_first_token(ctx, s.dx, d, saved);
    } else {
      Recomputed<typename K::Layer> recomputed{*layer};
      typename Recomputed<typename K::Layer>::Saved inputs_saved;
      setup.recompute ? recomputed.forward(ctx, out, in, inputs_saved) : layer->forward(ctx, out, in, &saved);
      ops::copy(ctx, s.dx, d);
      if constexpr (K::kOther)
        setup.recompute ? recomputed.backward(ctx, inputs_saved, s.dx, other)
                        : layer->backward(ctx, s.dx, other, saved);
      else
        setup.recompute ? recomputed.backward(ctx, inputs_saved, s.dx) : layer->backward(ctx, s.dx, saved);
    }
    ctx.arena.release(mark);
  }

  Tensor infer(Tensor to) {
    Ctx& ctx = work.ctx;
    work.packed.values_changed();
    if constexpr (K::kFirst)
      layer->forward_first_token(ctx, to, K::inputs(s), nullptr);
    else
      layer->forward(ctx, to, K::inputs(s), nullptr);
    return to;
  }
  double loss() {
    infer(out);
    long double sum = 0;
    for (int64_t i = 0; i < out.numel(); ++i) sum += (long double)data<double>(out)[i] * data<double>(weights)[i];
    return double(sum);
  }

  Setup setup;
  ParameterStore store;
  std::optional<typename K::Layer> layer;
  Workspace memory, work;
  Streams s;
  Tensor weights, out, d;
};

std::vector<double> numbers(Tensor t) {
  std::vector<double> v;
  dispatch(t.dtype, [&]<class T>() { v.assign(data<T>(t), data<T>(t) + t.numel()); });
  return v;
}
bool same_bits(Tensor a, Tensor b) {
  return a.bytes() == b.bytes() && std::memcmp(a.data, b.data, size_t(a.bytes())) == 0;
}

template <class K>
void expect_slopes(const Setup& setup) {
  Rig<K> rig(setup);
  rig.step();
  auto compare = [&](const std::string& name, Tensor value, const std::vector<double>& gradient) {
    for (int64_t i = 0; i < value.numel(); i += std::max<int64_t>(1, value.numel() / 12)) {
      double &x = data<double>(value)[i], kept = x, h = 1e-5;
      x = kept + h;
      double up = rig.loss();
      x = kept - h;
      double down = rig.loss();
      x = kept;
      ASSERT_NEAR((up - down) / (2 * h), gradient[size_t(i)], 1e-7) << name << " element " << i;
    }
  };
  std::vector<double> dy = numbers(rig.s.dy);
  for (double& v : dy) v -= setup.accumulate;
  compare("x", rig.s.x, numbers(rig.s.dx));
  if (K::kOther) compare("y", rig.s.y, dy);
  std::vector<double> grads = numbers(rig.store.grads());
  for (Parameter& p : rig.store.parameters())
    if (p.name != "beside") compare(p.name, p.value, {grads.begin() + p.range.begin, grads.begin() + p.range.end});
}

template <class K>
class Layers : public testing::Test {};
using Kinds = testing::Types<Reads<Encoder, false>, Reads<Encoder, true>, Reads<Text, false>, Reads<Cross, false>,
                             Reads<Cross, true>>;
TYPED_TEST_SUITE(Layers, Kinds);

TYPED_TEST(Layers, GradientsAreSlopes) { expect_slopes<TypeParam>({}); }
TYPED_TEST(Layers, GradientsAreSlopesWithoutMasks) { expect_slopes<TypeParam>({.masks = false, .accumulate = true}); }
TYPED_TEST(Layers, GradientsAreSlopesWithDropout) { expect_slopes<TypeParam>({.dropout = 0.3f}); }

TYPED_TEST(Layers, FrozenParametersLeaveTheGradientsOfInputsAlone) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    Rig<TypeParam> trained({.dtype = dtype, .dropout = 0.2f});
    Rig<TypeParam> frozen({.dtype = dtype, .dropout = 0.2f, .frozen = true});
    trained.step(), frozen.step();
    EXPECT_FALSE(frozen.store.parameters().back().grad);
    EXPECT_TRUE(same_bits(trained.out, frozen.out));
    EXPECT_TRUE(same_bits(trained.s.dx, frozen.s.dx));
    EXPECT_TRUE(same_bits(trained.s.dy, frozen.s.dy));
    std::vector<double> grads = numbers(frozen.store.grads());
    EXPECT_EQ(0, std::count_if(grads.begin(), grads.end(), [](double g) { return g != 0; }));
  }
}

template <class K>
class RecomputedLayers : public testing::Test {};
using RecomputedKinds = testing::Types<Reads<Encoder, false>, Reads<Text, false>, Reads<Cross, false>>;
TYPED_TEST_SUITE(RecomputedLayers, RecomputedKinds);

TYPED_TEST(RecomputedLayers, RecomputationChangesNoBit) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    Rig<TypeParam> plain({.dtype = dtype, .dropout = 0.2f, .accumulate = true});
    Rig<TypeParam> again({.dtype = dtype, .dropout = 0.2f, .recompute = true, .accumulate = true});
    plain.step(), again.step();
    EXPECT_TRUE(same_bits(plain.out, again.out));
    EXPECT_TRUE(same_bits(plain.s.dx, again.s.dx));
    EXPECT_TRUE(same_bits(plain.s.dy, again.s.dy));
    EXPECT_TRUE(same_bits(plain.store.grads(), again.store.grads()));
  }
}

TYPED_TEST(Layers, PlannedPeakIsExecutedPeak) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f64})
    for (bool recompute : {false, true})
      for (float dropout : {0.0f, 0.1f}) {
        Setup setup{.dtype = dtype, .dropout = dropout, .recompute = recompute};
        Rig<TypeParam> executed(setup);
        setup.device = Device::meta();
        Rig<TypeParam> planned(setup);
        executed.step(), planned.step();
        EXPECT_GT(planned.work.arena.peak().bytes, 0);
        EXPECT_EQ(planned.work.arena.peak().bytes, executed.work.arena.peak().bytes);
        EXPECT_EQ(planned.work.arena.peak().kept, executed.work.arena.peak().kept);
        EXPECT_EQ(planned.work.packed.bytes(), executed.work.packed.bytes());
        EXPECT_TRUE(executed.work.arena.empty());
      }
}

TYPED_TEST(Layers, InferenceGivesTheSameAndMayWorkInPlace) {
  for (float dropout : {0.0f, 0.3f}) {
    Rig<TypeParam> rig({.dropout = dropout});
    rig.step();
    Tensor trained = rig.memory.arena.keep(rig.out.shape, rig.out.dtype);
    ops::copy(rig.memory.ctx, trained, rig.out);
    EXPECT_TRUE(same_bits(trained, rig.infer(rig.out)));
    Tensor in_place = TypeParam::kFirst ? rig.out : rig.s.x;
    EXPECT_TRUE(same_bits(trained, rig.infer(in_place)));
    EXPECT_TRUE(rig.work.arena.empty());
  }
}

double cosine(const std::vector<double>& a, const std::vector<double>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) ab += a[i] * b[i], aa += a[i] * a[i], bb += b[i] * b[i];
  return ab / std::sqrt(aa * bb);
}

TYPED_TEST(Layers, Bf16PointsWhereFp64Does) {
  Rig<TypeParam> exact({.dropout = 0.2f}), rounded({.dtype = DType::bf16, .dropout = 0.2f});
  exact.step(), rounded.step();
  EXPECT_GT(cosine(numbers(exact.out), numbers(rounded.out)), 0.999);
  EXPECT_GT(cosine(numbers(exact.s.dx), numbers(rounded.s.dx)), 0.99);
  EXPECT_GT(cosine(numbers(exact.store.grads()), numbers(rounded.store.grads())), 0.99);
}

template <class K>
void expect_row_zero() {
  Rig<Reads<K, false>> all({});
  Rig<Reads<K, true>> first({});
  std::vector<double> row = numbers(first.infer(first.out)), rows = numbers(all.infer(all.out));
  for (int64_t i = 0; i < B * W; ++i)
    EXPECT_NEAR(rows[size_t(i / W * Tx * W + i % W)], row[size_t(i)], 1e-12) << "element " << i;
}
TEST(Layers, FirstTokenIsRowZeroOfAll) {
  expect_row_zero<Encoder>();
  expect_row_zero<Cross>();
}

TEST(Pooler, IsTanhOfALinearAndItsGradientsAreSlopes) {
  ParameterStore store;
  std::optional<Pooler> pooler;
  store.block("pooler", [&] { pooler.emplace(store, "p.", 4, 3, 0.5f); });
  store.materialize(Device::cpu(), DType::f64, true);
  store.initialize(1), store.zero_gradients(test::host_stream());
  Workspace work(Device::cpu(), 1 << 20, DType::f64);
  Tensor x = work.arena.keep({2, 4}, DType::f64), dx = work.arena.keep({2, 4}, DType::f64);
  Tensor out = work.arena.keep({2, 3}, DType::f64), dy = work.arena.keep({2, 3}, DType::f64);
  for (int64_t i = 0; i < 8; ++i) data<double>(x)[i] = std::sin(double(i));
  ops::fill(work.ctx, dy, 1);
  Pooler::Saved saved;
  pooler->forward(work.ctx, out, x, &saved);
  const double* w = data<double>(pooler->dense.weight.value);
  for (int64_t r = 0; r < 2; ++r)
    for (int64_t j = 0; j < 3; ++j) {
      double sum = 0;
      for (int64_t i = 0; i < 4; ++i) sum += data<double>(x)[r * 4 + i] * w[j * 4 + i];
      EXPECT_NEAR(data<double>(out)[r * 3 + j], std::tanh(sum), 1e-14);
    }
  pooler->backward(work.ctx, dx, dy, saved);
  auto loss = [&] {
    work.packed.values_changed();
    pooler->forward(work.ctx, out, x, nullptr);
    return std::accumulate(data<double>(out), data<double>(out) + out.numel(), 0.0);
  };
  auto expect_slope = [&](double& at, double gradient) {
    double kept = at, h = 1e-5;
    at = kept + h;
    double up = loss();
    at = kept - h;
    double down = loss();
    at = kept;
    EXPECT_NEAR((up - down) / (2 * h), gradient, 1e-8);
  };
  for (int64_t i = 0; i < 8; ++i) expect_slope(data<double>(x)[i], data<double>(dx)[i]);
  for (Parameter& p : store.parameters())
    for (int64_t i = 0; i < p.value.numel(); ++i) expect_slope(data<double>(p.value)[i], data<double>(p.grad)[i]);
}

TEST(Layers, DropoutsAreNumberedOneByOne) {
  ParameterStore store;
  TextLayer text(store, "t.", post_norm_options(0.1f));
  CrossLayer cross(store, "c.", post_norm_options(0.1f));
  EXPECT_EQ((std::vector<uint32_t>{10, 11, 12}),
            (std::vector{text.self.op, text.self.output.dropout.op, text.mlp.output.dropout.op}));
  EXPECT_EQ((std::vector<uint32_t>{10, 11, 12, 13, 14}),
            (std::vector{cross.self.op, cross.self.output.dropout.op, cross.cross.op, cross.cross.output.dropout.op,
                         cross.mlp.output.dropout.op}));
  EXPECT_EQ(TextLayer::kDropouts, 3u);
  EXPECT_EQ(CrossLayer::kDropouts, 5u);
}

TEST(Layers, ParametersHaveTheNamesOfTheCheckpoint) {
  ParameterStore store;
  CrossLayer cross(store, "cross_modal_text_layers.0.", post_norm_options(0));
  std::vector<std::string> names;
  for (const Parameter& p : store.parameters())
    if (p.name.ends_with(".weight")) names.push_back(p.name.substr(std::strlen("cross_modal_text_layers.0.")));
  EXPECT_EQ(names, (std::vector<std::string>{"attention.self.qkv.weight", "attention.output.dense.weight",
                                             "attention.output.LayerNorm.weight", "crossattention.self.query.weight",
                                             "crossattention.self.kv.weight", "crossattention.output.dense.weight",
                                             "crossattention.output.LayerNorm.weight", "intermediate.dense.weight",
                                             "output.dense.weight", "output.LayerNorm.weight"}));
}

}  // namespace
}  // namespace viaduct::nn
