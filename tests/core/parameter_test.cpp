#include "core/nn/parameter.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "tests/support/messages.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct {
namespace {

using test::message_of;

struct Small {
  ParameterStore store;
  Range first, second;
  Small() {
    first = store.block("first", [&] {
      store.add("a.weight", {5, 7}, {Init::normal(0.02f)});
      store.add("a.bias", {7}, {Init::zeros(), false});
    });
    second = store.block("second", [&] { store.add("b.weight", {300}, {Init::normal(1.5f)}); });
  }
};

struct Elsewhere final : GradSink {
  explicit Elsewhere(Range r) : memory(Device::cpu(), r.size() * 4) {}
  void add_loss(Tensor, int64_t) override {}
  Tensor open(Range r) override { return memory.view(0, {r.size()}, DType::f32); }
  void ready(Range) override {}
  Buffer memory;
};

TEST(ParameterStore, BlocksCoverTheStoreAndParametersAreAligned) {
  Small s;
  s.store.materialize(Device::cpu(), DType::f32, true);
  EXPECT_EQ(s.first.begin, ParameterStore::kTailSlot);
  EXPECT_EQ(s.first.end, s.second.begin);
  EXPECT_EQ(s.second.end, s.store.size());
  EXPECT_EQ(s.store.range(), (Range{s.first.begin, s.second.end}));
  EXPECT_EQ(s.store.count(), 5 * 7 + 7 + 300);
  for (const Parameter& p : s.store.parameters()) {
    EXPECT_EQ(p.range.begin % ParameterStore::kAlignment, 0) << p.name;
    EXPECT_EQ(p.range.size(), p.shape.numel());
    EXPECT_EQ(data<float>(p.value), data<float>(s.store.values()) + p.range.begin);
    EXPECT_EQ(data<float>(p.grad), data<float>(s.store.grads()) + p.range.begin);
  }
  EXPECT_EQ(s.store.describe(s.second.begin + 3), "b.weight");
  EXPECT_EQ(s.store.describe(s.second.end - 1), "padding");
  EXPECT_EQ(s.store.describe(0), "the step tail");
  EXPECT_EQ(s.store.block_name(s.second), "second");
  EXPECT_THROW(s.store.block_name({0, 1}), Error);
  EXPECT_THROW(s.store.find("c"), Error);
}

TEST(ParameterStore, RefusesParametersOutsideBlocksOrTooLate) {
  ParameterStore loose;
  loose.add("stray", {3});
  EXPECT_NE(message_of([&] { loose.materialize(Device::cpu(), DType::f32, true); }, Exit::crash).find("block"),
            std::string::npos);
  Small s;
  s.store.materialize(Device::cpu(), DType::f32, false);
  EXPECT_THROW(s.store.add("late", {3}), Error);
  EXPECT_THROW(ParameterStore{}.block("empty", [] {}), Error);
}

TEST(ParameterStore, ValuesDependOnNameAndSeedAlone) {
  Small small;
  ParameterStore other;  // another order, other neighbours
  other.block("all", [&] {
    other.add("b.weight", {300}, {Init::normal(1.5f)});
    other.add("unrelated", {1000}, {Init::normal(1)});
    other.add("a.weight", {5, 7}, {Init::normal(0.02f)});
  });
  for (ParameterStore* s : {&small.store, &other}) s->materialize(Device::cpu(), DType::f32, false), s->initialize(7);
  auto values = [](ParameterStore& s, const char* name) {
    const Tensor& t = s.find(name).value;
    return std::vector<float>(data<float>(t), data<float>(t) + t.numel());
  };
  for (const char* name : {"a.weight", "b.weight"}) EXPECT_EQ(values(small.store, name), values(other, name));
  auto before = values(other, "b.weight");
  EXPECT_NE(before, values(other, "unrelated"));
  other.initialize(8);
  EXPECT_NE(before, values(other, "b.weight"));
}

TEST(ParameterStore, InitialValuesHaveTheirDistribution) {
  ParameterStore s;
  s.block("all", [&] {
    s.add("wide", {40000}, {Init::normal(1.5f)});
    s.add("narrow", {40000}, {Init::normal(0.02f)});
    s.add("ones", {9}, {Init::ones()});
    s.add("zeros", {9});
  });
  s.materialize(Device::cpu(), DType::f32, false);
  s.initialize(1);
  auto moments = [&](const char* name) {
    double sum = 0, square = 0, largest = 0;
    for (int64_t i = 0; i < 40000; ++i) {
      double v = data<float>(s.find(name).value)[i];
      sum += v, square += v * v, largest = std::max(largest, std::abs(v));
    }
    return std::array{sum / 40000, std::sqrt(square / 40000), largest};
  };
  auto narrow = moments("narrow"), wide = moments("wide");
  EXPECT_NEAR(narrow[0], 0, 4 * 0.02 / 200);  // four standard errors
  EXPECT_NEAR(narrow[1], 0.02, 4 * 0.02 / 283);
  EXPECT_GT(narrow[2], 0.06);
  EXPECT_LE(wide[2], 2);  // cut
  EXPECT_GT(wide[2], 1.99);
  for (int i = 0; i < 9; ++i) {
    EXPECT_EQ(data<float>(s.find("ones").value)[i], 1);
    EXPECT_EQ(data<float>(s.find("zeros").value)[i], 0);
  }
}

TEST(ParameterStore, OpenBindsTheBlocksGradientsToTheSinksStorage) {
  Small s;
  s.store.materialize(Device::cpu(), DType::f32, true);
  Elsewhere sink(s.first);
  s.store.open(s.first, sink);
  const Parameter &weight = s.store.find("a.weight"), &bias = s.store.find("a.bias");
  EXPECT_EQ(weight.grad.data, sink.memory.data());
  EXPECT_EQ(data<float>(bias.grad), static_cast<float*>(sink.memory.data()) + (bias.range.begin - s.first.begin));
  EXPECT_EQ(bias.grad.shape, bias.shape);
  const Parameter& other = s.store.find("b.weight");
  EXPECT_EQ(data<float>(other.grad), data<float>(s.store.grads()) + other.range.begin);
}

TEST(ParameterStore, GradientsHaveTheirDtypeOrDoNotExist) {
  for (auto [dtype, grads] : {std::pair{DType::f32, DType::f32}, {DType::bf16, DType::f32}, {DType::f64, DType::f64}}) {
    Small s;
    s.store.materialize(Device::cpu(), dtype, true);
    EXPECT_EQ(s.store.grads().dtype, grads);
    std::memset(s.store.grads().data, 1, size_t(s.store.grads().bytes()));
    s.store.zero_gradients(test::host_stream());
    for (int64_t i = 0; i < s.store.grads().bytes(); ++i) ASSERT_EQ(static_cast<char*>(s.store.grads().data)[i], 0);
  }
  Small frozen;
  frozen.store.materialize(Device::cpu(), DType::bf16, false);
  EXPECT_FALSE(frozen.store.trainable());
  EXPECT_FALSE(frozen.store.find("a.bias").grad);
}

TEST(ParameterStore, MemoryComesFromTheAllocatorAndMetaNeedsNone) {
  std::vector<int64_t> asked;
  Small s;
  s.store.materialize(Device::cpu(), DType::bf16, true, [&](Device device, int64_t bytes) {
    asked.push_back(bytes);
    return Buffer(device, bytes);
  });
  EXPECT_EQ(asked, (std::vector{s.store.size() * 2, s.store.size() * 4}));
  Small meta;
  meta.store.materialize(Device::meta(), DType::f32, true);
  meta.store.initialize(1);  // touches nothing
  meta.store.zero_gradients(test::host_stream());
  EXPECT_TRUE(meta.store.find("b.weight").value.device.is_meta());
}

}  // namespace
}  // namespace viaduct
