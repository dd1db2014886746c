// The table of algorithms: its text form, and that what it says is what runs.
#include "core/ops/product_algorithms.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/philox.hpp"
#include "core/ops/cuda/product.hpp"
#include "core/ops/cuda/product_choice.hpp"
#include "core/ops/linear.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct::test {
namespace {

using ops::cuda::Epilogue;
using ops::cuda::ProductAlgorithm;
using ops::cuda::ProductAlgorithms;
using ops::cuda::ProductChoice;
using ops::cuda::ProductKey;
using ops::cuda::ProductPlan;
using testing::HasSubstr;

constexpr const char* kLibrary = "some GPU, cuBLASLt 130100";

ProductKey key(int64_t rows) {
  return {.rows = rows, .columns = 24, .depth = 257, .right_transposed = true, .operands = DType::bf16};
}

TEST(ProductAlgorithms, TextReadsBackAsWhatWasChosen) {
  ProductKey gradient{.rows = 48,
                      .columns = 16,
                      .depth = 5,
                      .left_transposed = true,
                      .operands = DType::bf16,
                      .added = true,
                      .epilogue = Epilogue::left_sums,
                      .alignment = 2};
  ProductAlgorithm measured{.id = 66,
                            .tile = 20,
                            .stages = 36,
                            .split_k = 3,
                            .reduction = 2,
                            .swizzle = 1,
                            .custom = 7,
                            .inner_shape = 4,
                            .cluster_shape = 12};
  ProductAlgorithms written, read;
  written.choose(key(7), measured), written.choose(gradient, {.apart = true});
  std::string text = written.text(kLibrary);
  EXPECT_TRUE(read.load(text, kLibrary));
  EXPECT_EQ(read.find(key(7)), measured);
  EXPECT_EQ(read.find(gradient), ProductAlgorithm{.apart = true});
  EXPECT_EQ(read.find(key(8)), std::nullopt);
  EXPECT_EQ(read.text(kLibrary), text);
}

TEST(ProductAlgorithms, AnotherLibrarysTextIsLeftAlone) {
  ProductAlgorithms written, read;
  written.choose(key(7), {.id = 1});
  EXPECT_FALSE(read.load(written.text("another GPU, cuBLASLt 130100"), kLibrary));
  EXPECT_EQ(read.find(key(7)), std::nullopt);
}

TEST(ProductAlgorithms, RecordedProductsWantAnAlgorithmOnce) {
  ProductAlgorithms table;
  for (int64_t rows : {7, 8, 7}) table.record(key(rows));
  EXPECT_EQ(table.without_algorithm(), (std::vector{key(7), key(8)}));
  table.choose(key(7), {.id = 1});
  EXPECT_EQ(table.without_algorithm(), std::vector{key(8)});
}

TEST(ProductAlgorithms, WhatIsNoTableIsRefusedWithASentence) {
  ProductAlgorithms written;
  written.choose(key(7), {.id = 1});
  const std::string text = written.text(kLibrary);
  auto refusal = [&](const std::string& damaged) {
    ProductAlgorithms read;
    std::string message = message_of([&] { read.load(damaged, kLibrary); });
    EXPECT_EQ(read.find(key(7)), std::nullopt) << damaged;
    return message;
  };
  auto with = [&](const std::string& from, const std::string& to) {
    std::string damaged = text;
    return damaged.replace(damaged.find(from), from.size(), to);
  };
  EXPECT_THAT(refusal(""), HasSubstr("should begin with 'viaduct product algorithms 1 for '"));
  EXPECT_THAT(refusal(text + "nonsense\n"), HasSubstr("line 3 of the table of product algorithms, 'nonsense'"));
  EXPECT_THAT(refusal(with("depth", "width")), HasSubstr("the field 'depth' was expected"));
  EXPECT_THAT(refusal(with("rows 7", "rows seven")), HasSubstr("'rows' should be a number from 0 to"));
  EXPECT_THAT(refusal(with("bias 0", "bias 2")), HasSubstr("'bias' should be a number from 0 to 1, found '2'"));
  EXPECT_THAT(refusal(with("id 1", "id -1")), HasSubstr("found '-1'"));
  EXPECT_THAT(refusal(with(" -> ", " - ")), HasSubstr("' -> ' and an algorithm were expected"));
  EXPECT_THAT(refusal(with("alignment 16", "alignment 16 more")), HasSubstr("the product ends in something unknown"));
  EXPECT_THAT(refusal(with("cluster_shape 0", "cluster_shape 0 more")), HasSubstr("ends in something unknown"));
}

// Operands on the device of one product x weight^T.
struct Operands {
  explicit Operands(const ProductKey& k, Stream& stream)
      : memory(Device::cuda(), 1 << 20), workspace(Device::cuda(), ops::cuda::kProductWorkspace), stream(stream) {
    x = memory.view(0, {k.rows, k.depth}, k.operands);
    w = memory.view(1 << 18, {k.columns, k.depth}, k.operands);
    y = memory.view(1 << 19, {k.rows, k.columns}, k.result);
    std::vector<bf16> numbers(1 << 18);
    RandomSequence random(1, Draw::init);
    for (bf16& n : numbers) n = bf16(float(random.uniform(-1, 1)));
    Tensor host{numbers.data(), {1 << 18}, DType::bf16, Device::cpu()};
    transfer(memory.view(0, host.shape, DType::bf16), host, stream);
    stream.synchronize();
  }
  ops::cuda::ProductOperands pointers() const {
    return {.left = x.data, .right = w.data, .d = y.data, .workspace = workspace.data()};
  }
  std::vector<float> result() {
    std::vector<float> values(size_t(y.numel()));
    transfer({values.data(), y.shape, DType::f32, Device::cpu()}, y, stream);
    stream.synchronize();
    return values;
  }
  Buffer memory, workspace;
  Stream& stream;
  Tensor x, w, y;
};

TEST(ProductAlgorithms, WhatWasChosenIsWhatRuns) {
  Stream stream(Device::cuda());
  auto native = static_cast<cudaStream_t>(stream.native());
  Operands operands(key(33), stream);
  ProductPlan plan(0, key(33));
  auto answers = plan.heuristics(8);
  ASSERT_FALSE(answers.empty());
  for (const auto& answer : answers) {
    ProductAlgorithms text;
    text.choose(key(33), ProductPlan::attributes(answer));
    ProductChoice choice;
    choice.load(text.text(kLibrary), kLibrary);
    plan.run(operands.pointers(), answer, native);
    std::vector<float> expected = operands.result();
    EXPECT_TRUE(choice.run(0, key(33), operands.pointers(), native));
    EXPECT_EQ(operands.result(), expected);
  }
}

TEST(ProductAlgorithms, AChoiceThatTheLibraryDoesNotHaveIsAnError) {
  Stream stream(Device::cuda());
  Operands operands(key(33), stream);
  ProductChoice choice;
  choice.choose(key(33), {.id = 1 << 20});
  EXPECT_THAT(message_of([&] { choice.run(0, key(33), operands.pointers(), nullptr); }),
              HasSubstr("cuBLASLt cannot compute the product bf16 [33, 257] x [24, 257]^T to fp32"));
}

TEST(ProductAlgorithms, PlannedProductsAreTunedOnceAndSaved) {
  Device device = Device::cuda();
  ops::begin_planning_products(device);  // not what other tests have planned
  TestCtx meta(DType::bf16, Device::meta(Device::Kind::cuda));
  Tensor x = meta.arena.keep({3, 11, 40}, DType::bf16), y = meta.arena.keep({3, 11, 16}, DType::bf16);
  Tensor w = meta.arena.keep({16, 40}, DType::bf16), b = meta.arena.keep({16}, DType::bf16);
  Tensor dw = meta.arena.keep({16, 40}, DType::f32), db = meta.arena.keep({16}, DType::f32);
  ops::linear(meta, y, x, w, {.bias = b, .activation = ops::Activation::gelu_tanh, .pre = y});
  ops::linear_weight_grad(meta, dw, db, y, x);
  ProductChoice& choice = ProductChoice::of_process();
  EXPECT_GE(choice.without_algorithm().size(), 2u);
  ops::tune_products(device, 0);
  EXPECT_TRUE(choice.without_algorithm().empty());
  std::string text = ops::product_algorithms(device);
  EXPECT_THAT(text, HasSubstr("rows 33 columns 16 depth 40 left_transposed 0 right_transposed 1 operands 1 result 1 "
                              "added 0 bias 1 epilogue 2 alignment 16 -> "));
  EXPECT_THAT(text, HasSubstr("rows 16 columns 40 depth 33 left_transposed 1 right_transposed 0 operands 1 result 0 "
                              "added 1 bias 0 epilogue 4 alignment 16 -> "));
  ops::tune_products(device, 0);
  EXPECT_EQ(ops::product_algorithms(device), text);
  EXPECT_TRUE(ops::use_product_algorithms(device, text));
}

}  // namespace
}  // namespace viaduct::test
