// DeiT, a ViT with a distillation token, against transformers (tests/golden/distillation_golden.py), and feature losses
// against PyTorch.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/ops/distillation.hpp"
#include "core/ops/elementwise.hpp"
#include "core/ops/loss.hpp"
#include "models/feature_loss.hpp"
#include "models/hf_config.hpp"
#include "models/hf_export.hpp"
#include "models/hf_layout.hpp"
#include "models/hf_weights.hpp"
#include "models/vit_classifier.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/recording_sink.hpp"
#include "tests/support/source_path.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct::test {
namespace {

using Doubles = std::vector<double>;

Path golden() { return source_path("tests/golden/deit_tiny"); }
std::vector<float> floats(const SafetensorsFile& file, const std::string& name) {
  std::vector<float> values(size_t(file.get(name).numel()));
  file.read(file.get(name), values.data());
  return values;
}

// The golden model and batch, and DeiT's hard distillation of it.
struct Deit {
  explicit Deit(DType dtype, const VitConfig& config = vit(read_model_config(golden())), VitOptions options = {})
      : model(config, ops::Normalization{}, options), work(Device::cpu(), 64 << 20, dtype), sink(model.parameters()) {
    model.parameters().materialize(Device::cpu(), dtype, true);
    load_weights(golden(), config, model.parameters(), 1);
    images.resize(size_t(data.get("images").numel()));
    data.read_bytes(data.get("images"), images.data());
    labels.resize(4);
    data.read_bytes(data.get("labels"), labels.data());
  }
  Tensor pixels() { return {images.data(), {4, 32, 32, 3}, DType::u8, Device::cpu()}; }
  double train() {
    Ctx& ctx = work.ctx;
    auto scope = ctx.arena.scope("step");
    model.parameters().zero_gradients(host_stream());
    VitClassifier::Saved saved;
    auto z = model.forward(ctx, &sink, pixels(), &saved);
    Tensor label{labels.data(), {4}, DType::i32, Device::cpu()}, taught = ctx.arena.temp({4}, DType::i32);
    std::vector<float> given = floats(data, "teacher");
    Tensor teacher = ctx.arena.temp({4, 5}, ctx.dtype);
    ops::copy(ctx, teacher, {given.data(), {4, 5}, DType::f32, Device::cpu()});
    ops::argmax(ctx, taught, teacher);
    Tensor losses = ctx.arena.temp({4}, stat_dtype(ctx.dtype)), hard = ctx.arena.temp({4}, losses.dtype);
    ops::cross_entropy(ctx, losses, z.label, z.label, label, 0.5);
    ops::cross_entropy(ctx, hard, z.distilled, z.distilled, taught, 0.5);
    ops::add(ctx, losses, losses, hard);
    sink.loss = 0, sink.add_loss(losses, 4);
    model.backward(ctx, sink, z, saved);
    return sink.loss / 4;
  }

  SafetensorsFile data{golden() / "data.safetensors"};
  std::vector<uint8_t> images;
  std::vector<int32_t> labels;
  VitClassifier model;
  Workspace work;
  RecordingSink sink;
};

TEST(Deit, IsReadAsItIs) {
  const VitConfig config = vit(read_model_config(golden()));
  EXPECT_TRUE(config.distillation_token);
  EXPECT_EQ(config.tokens(), 18);
  const std::string json = model_config_json(config, "DeiTForImageClassificationWithTeacher");
  EXPECT_TRUE(vit(parse_model_config(json, "again")).distillation_token);
  EXPECT_NE(json.find("\"model_type\": \"deit\""), std::string::npos);
  EXPECT_NE(message_of([&] { parse_model_config(model_config_json(config, "DeiTModel"), "config.json"); }, Exit::input)
                .find("expected architectures = [\"DeiTForImageClassificationWithTeacher\"], found DeiTModel"),
            std::string::npos);
}

TEST(Deit, AnswersAsTransformersDo) {
  Deit deit(DType::f32);
  auto scope = deit.work.arena.scope("test");
  const Tensor logits = deit.model.forward(deit.work.ctx, deit.pixels());
  const auto wanted = floats(deit.data, "logits");
  for (size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(data<float>(logits)[i], wanted[i], 1e-5) << i;
}

TEST(Deit, LearnsAsTransformersDo) {
  for (bool recompute : {false, true}) {
    Deit deit(DType::f32, vit(read_model_config(golden())), {.recompute = recompute});
    const auto expected = nlohmann::json::parse(read_file(golden() / "expected.json", 1 << 20));
    EXPECT_NEAR(deit.train(), double(expected["loss"]), 1e-6);
    SafetensorsFile grads(golden() / "grads.safetensors");
    double global = 0;
    for (const SafetensorsEntry& t : grads.tensors())
      for (float g : floats(grads, t.name)) global += double(g) * g;
    int tensors = 0;
    for (const Parameter& p : deit.model.parameters().parameters()) {
      const float* got = data<float>(p.grad);
      for (const HfTensor& t : hf_tensors(p, deit.model.config())) {
        double norm = 0, difference = 0;
        for (float wanted : floats(grads, t.name)) {
          const double g = double(*got++) / 4 - wanted;
          norm += double(wanted) * wanted, difference += g * g;
        }
        // Key biases have none in theory.
        EXPECT_LT(std::sqrt(difference), 1e-5 * std::sqrt(norm) + 1e-6 * std::sqrt(global)) << t.name;
        ++tensors;
      }
    }
    EXPECT_EQ(size_t(tensors), grads.tensors().size());
  }
}

TEST(Deit, IsWrittenAsItWasRead) {
  Deit deit(DType::f32);
  TempFolder folder;
  export_model(folder / "model", deit.model.config(), "DeiTForImageClassificationWithTeacher", deit.model.parameters(),
               [&](const Parameter& p) { return data<float>(p.value); }, {});
  SafetensorsFile before(golden() / "model.safetensors"), after(folder / "model/model.safetensors");
  ASSERT_EQ(before.tensors().size(), after.tensors().size());
  for (const SafetensorsEntry& t : before.tensors()) {
    EXPECT_EQ(after.get(t.name).shape, t.shape) << t.name;
    EXPECT_EQ(floats(before, t.name), floats(after, t.name)) << t.name;
  }
}

TEST(Deit, PositionsOfAnotherImageSizeKeepBothTokens) {
  VitConfig config = vit(read_model_config(golden()));
  config.image_size = 48;
  Deit larger(DType::f32, config), same(DType::f32);
  const std::string name = "deit.embeddings.position_embeddings";
  const float *a = data<float>(larger.model.parameters().find(name).value),
              *b = data<float>(same.model.parameters().find(name).value);
  EXPECT_TRUE(std::equal(a, a + 2 * 32, b));
  EXPECT_FALSE(std::equal(a + 2 * 32, a + 3 * 32, b + 2 * 32));
}

// A layer's whole output, with or without recomputation, gives the same answer as the row alone.
TEST(VitWholeLast, ChangesNoAnswer) {
  const Path folder = source_path("tests/golden/vit_tiny");
  const VitConfig config = vit(read_model_config(folder));
  std::vector<std::vector<float>> answers;
  for (bool whole : {false, true}) {
    VitClassifier model(config, ops::Normalization{}, {.whole_last = whole});
    model.parameters().materialize(Device::cpu(), DType::f32, false);
    load_weights(folder, config, model.parameters(), 1);
    Deit images(DType::f32);
    auto scope = images.work.arena.scope("test");
    const Tensor t = model.forward(images.work.ctx, images.pixels());
    answers.emplace_back(data<float>(t), data<float>(t) + t.numel());
  }
  for (size_t i = 0; i < answers[0].size(); ++i) EXPECT_NEAR(answers[0][i], answers[1][i], 1e-5);
}

TEST(FeatureLoss, IsTorchs) {
  const auto c = nlohmann::json::parse(read_file(source_path("tests/golden/features.json"), 1 << 20));
  const int64_t B = c["batch"], T = c["tokens"], S = c["student"], W = c["teacher"];
  TestCtx ctx(DType::f64);
  ParameterStore store;
  FeatureLoss loss(store, {{1, 1}, {2, 1}}, S, W, c["weight"]);
  store.materialize(Device::cpu(), DType::f64, true);
  RecordingSink sink(store);
  std::vector<Doubles> x = c["x"], target = c["target"], dx(2, Doubles(size_t(B * T * S), 0.25));
  auto tensor = [&](Doubles& v, int64_t width) { return Tensor{v.data(), {B, T, width}, DType::f64, Device::cpu()}; };
  std::vector<Tensor> xs{tensor(x[0], S), tensor(x[1], S)}, targets{tensor(target[0], W), tensor(target[1], W)};
  auto values = [&](const char* part, size_t pair) -> Parameter& {
    return store.find(fmt::format("distillation.projection.{}.1.{}", pair + 1, part));
  };
  for (size_t p = 0; p < 2; ++p) {
    Doubles weight = c["projection"][p], bias = c["bias"][p];
    std::copy(weight.begin(), weight.end(), data<double>(values("weight", p).value));
    std::copy(bias.begin(), bias.end(), data<double>(values("bias", p).value));
  }
  Doubles losses(static_cast<size_t>(B), 0);
  loss.forward(ctx, sink, {losses.data(), {B}, DType::f64, Device::cpu()}, xs, targets);
  EXPECT_NEAR((losses[0] + losses[1] + losses[2]) / double(B), double(c["loss"]), 1e-13);
  auto expect_near = [&](const double* got, const Doubles& wanted, double before, const char* what) {
    for (size_t i = 0; i < wanted.size(); ++i)
      EXPECT_NEAR((got[i] - before) / double(B), wanted[i], 1e-13) << what << i;
  };
  for (int64_t layer : {2, 1}) loss.backward(ctx, sink, layer, tensor(dx[size_t(layer - 1)], S), xs, targets);
  for (size_t p = 0; p < 2; ++p) {
    expect_near(dx[p].data(), c["dx"][p], 0.25, "dx ");
    expect_near(data<double>(values("weight", p).grad), c["dprojection"][p], 0, "dprojection ");
    expect_near(data<double>(values("bias", p).grad), c["dbias"][p], 0, "dbias ");
  }
  EXPECT_EQ(sink.reported, (std::vector<std::string>{"distillation.projection.2.1", "distillation.projection.1.1"}));
}

// Of the same width there is nothing to learn: the difference itself.
TEST(FeatureLoss, HasNoProjectionBetweenEqualWidths) {
  ParameterStore store;
  FeatureLoss loss(store, {{1, 1}}, 4, 4, 2);
  EXPECT_EQ(store.count(), 0);
  TestCtx ctx(DType::f64);
  Doubles x(8, 3), target(8, 1), d(8, 1), losses(1, 0);
  auto t = [](Doubles& v) { return Tensor{v.data(), {1, 2, 4}, DType::f64, Device::cpu()}; };
  RecordingSink sink(store);
  loss.forward(ctx, sink, {losses.data(), {1}, DType::f64, Device::cpu()}, {t(x)}, {t(target)});
  EXPECT_DOUBLE_EQ(losses[0], 2 * 4);
  loss.backward(ctx, sink, 1, t(d), {t(x)}, {t(target)});
  EXPECT_DOUBLE_EQ(d[0], 1 + 2 * 2 * 2 / 8.0);
}

// Every second layer, the first of two heads.
TEST(CutWeights, AreTheLeadingBlocks) {
  const Path folder = source_path("tests/golden/vit_tiny");
  VitConfig large = vit(read_model_config(folder)), small = large;
  small.num_hidden_layers = 1, small.num_attention_heads = 1, small.hidden_size = 16, small.intermediate_size = 32;
  auto store_of = [&](VitClassifier& model, int64_t every) -> ParameterStore& {
    model.parameters().materialize(Device::cpu(), DType::f32, false);
    load_weights(folder, model.config(), model.parameters(), 1, {}, every);
    return model.parameters();
  };
  VitClassifier teacher(large, {}), student(small, {});
  ParameterStore &from = store_of(teacher, 0), &to = store_of(student, 2);
  auto expect_block = [&](const std::string& name, const std::string& there, int64_t first_row, int64_t first_row_there,
                          int64_t rows) {
    const Tensor a = to.find(name).value, b = from.find(there).value;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < a.shape.last(); ++c)
        ASSERT_EQ(data<float>(a)[(first_row + r) * a.shape.last() + c],
                  data<float>(b)[(first_row_there + r) * b.shape.last() + c])
            << name << " " << r << " " << c;
  };
  const std::string here = "vit.encoder.layer.0.", second = "vit.encoder.layer.1.";
  for (int64_t part : {0, 1, 2}) {  // query, key, value
    expect_block(here + "attention.attention.qkv.weight", second + "attention.attention.qkv.weight", part * 16,
                 part * 32, 16);
  }
  expect_block(here + "output.dense.weight", second + "output.dense.weight", 0, 0, 16);
  expect_block(here + "layernorm_before.bias", second + "layernorm_before.bias", 0, 0, 1);
  expect_block("vit.embeddings.position_embeddings", "vit.embeddings.position_embeddings", 0, 0, 17);
  expect_block("vit.embeddings.patch_embeddings.projection.weight", "vit.embeddings.patch_embeddings.projection.weight",
               0, 0, 16);
  expect_block("classifier.weight", "classifier.weight", 0, 0, 5);
}

}  // namespace
}  // namespace viaduct::test
