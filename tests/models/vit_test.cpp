// The ViT as a whole on small shapes: gradients, recomputation, memory plan, reports. Its numbers against transformers
// are in vit_golden_test.cpp.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "core/base/philox.hpp"
#include "core/ops/workspace.hpp"
#include "models/vit_classifier.hpp"
#include "tests/support/recording_sink.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct {
namespace {

VitConfig small_config(double dropout = 0) {
  VitConfig c;
  c.hidden_size = 12, c.num_hidden_layers = 3, c.num_attention_heads = 3, c.intermediate_size = 20;
  c.image_size = 9, c.patch_size = 3, c.layer_norm_eps = 1e-6, c.initializer_range = 0.5;
  c.hidden_dropout_prob = c.attention_probs_dropout_prob = dropout;
  c.labels = {"a", "b", "c"};
  return c;
}

// A model with memory, and a batch of random images for it.
struct Rig {
  Rig(const VitConfig& config, DType dtype, bool recompute, int64_t samples, Device device = Device::cpu())
      : model(config, {}, {recompute}), work(device, 64 << 20, dtype) {
    model.parameters().materialize(device, dtype, true);
    model.parameters().initialize(7);
    int64_t size = config.image_size, pixels = samples * size * size * 3;
    batch.storage = std::make_shared<Buffer>(device, pixels + 64 + samples * 32);
    batch.pixels = batch.storage->view(0, {samples, size, size, 3}, DType::u8);
    batch.labels = batch.storage->view(align_up(pixels, 64), {samples}, DType::i32);
    batch.keys = batch.storage->view(align_up(pixels, 64) + 8 * samples, {samples}, DType::i64);
    batch.samples.resize(size_t(samples));
    work.ctx.sample_keys = batch.keys;
    work.ctx.training = true;
    if (device.is_meta()) return;
    RandomSequence random(3, Draw::scene);
    for (int64_t i = 0; i < pixels; ++i) data<uint8_t>(batch.pixels)[i] = uint8_t(random.bits());
    for (int64_t b = 0; b < samples; ++b) {
      data<int32_t>(batch.labels)[b] = int32_t(random.below(uint64_t(config.classes())));
      data<int64_t>(batch.keys)[b] = int64_t(sample_key(1, 2, uint64_t(b)));
    }
  }
  double train() {
    sink = std::make_unique<test::RecordingSink>(model.parameters());
    model.parameters().zero_gradients(test::host_stream());
    model.train(work.ctx, batch, *sink);
    return sink->loss;
  }
  Tensor grads() { return model.parameters().grads(); }

  VitClassifier model;
  Workspace work;
  std::unique_ptr<test::RecordingSink> sink;
  Batch batch;
};

// Every parameter's gradient against central differences of the loss, in fp64.
void check_gradients(const VitConfig& config, bool recompute) {
  Rig s(config, DType::f64, recompute, 2);
  s.train();
  std::vector<double> got(data<double>(s.grads()), data<double>(s.grads()) + s.grads().numel());
  double largest = 0;
  for (double g : got) largest = std::max(largest, std::abs(g));
  for (Parameter& p : s.model.parameters().parameters())
    for (int64_t i = 0; i < p.range.size(); i += std::max<int64_t>(1, p.range.size() / 3)) {
      double& value = data<double>(p.value)[i];
      double kept = value, h = 1e-5;
      value = kept + h, s.work.packed.values_changed();
      double up = s.train();
      value = kept - h, s.work.packed.values_changed();
      double down = s.train();
      value = kept, s.work.packed.values_changed();
      ASSERT_NEAR((up - down) / (2 * h), got[size_t(p.range.begin + i)], 1e-7 * largest) << p.name << " element " << i;
    }
}

TEST(Vit, GradientsAreThoseOfTheLoss) { check_gradients(small_config(), false); }
TEST(Vit, GradientsAreThoseOfTheLossWithDropout) { check_gradients(small_config(0.3), false); }
TEST(Vit, GradientsAreThoseOfTheLossWithoutQkvBias) {
  VitConfig config = small_config();
  config.qkv_bias = false, config.hidden_act = "gelu_new";
  check_gradients(config, false);
}
TEST(Vit, GradientsAreThoseOfTheLossWhenRecomputed) { check_gradients(small_config(0.2), true); }

TEST(Vit, RecomputationChangesNoBit) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    Rig plain(small_config(0.1), dtype, false, 3), recomputed(small_config(0.1), dtype, true, 3);
    EXPECT_EQ(plain.train(), recomputed.train());
    EXPECT_EQ(0, std::memcmp(plain.grads().data, recomputed.grads().data, size_t(plain.grads().bytes())));
    EXPECT_LT(recomputed.work.arena.peak().bytes, plain.work.arena.peak().bytes);
  }
}

TEST(Vit, PlannedPeakIsExecutedPeak) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f64})
    for (bool recompute : {false, true})
      for (double dropout : {0.0, 0.1}) {
        Rig planned(small_config(dropout), dtype, recompute, 5, Device::meta());
        planned.model.train(planned.work.ctx, planned.batch,
                            *(planned.sink = std::make_unique<test::RecordingSink>(planned.model.parameters())));
        Rig executed(small_config(dropout), dtype, recompute, 5);
        executed.train();
        EXPECT_GT(planned.work.arena.peak().bytes, 0);
        EXPECT_EQ(planned.work.arena.peak().bytes, executed.work.arena.peak().bytes);
        EXPECT_EQ(planned.work.arena.peak().kept, executed.work.arena.peak().kept);
        EXPECT_EQ(planned.work.packed.bytes(), executed.work.packed.bytes());
        EXPECT_TRUE(executed.work.arena.empty());
      }
}

TEST(Vit, EveryBlockIsNeededInOrderAndReportedInReverse) {
  Rig s(small_config(), DType::f32, false, 1);
  s.train();
  std::vector<std::string> forward{"vit.embeddings",      "vit.encoder.layer.0", "vit.encoder.layer.1",
                                   "vit.encoder.layer.2", "vit.layernorm",       "classifier"};
  EXPECT_EQ(forward, s.sink->needed);
  std::reverse(forward.begin(), forward.end());
  EXPECT_EQ(forward, s.sink->opened);
  EXPECT_EQ(forward, s.sink->reported);
  EXPECT_EQ(1, s.sink->terms);
}

TEST(Vit, InferenceAndTrainingSeeTheSameLogits) {
  Rig s(small_config(), DType::f32, false, 4);
  s.work.ctx.training = false;
  auto scope = s.work.arena.scope("test");
  Tensor logits = s.model.forward(s.work.ctx, s.batch.pixels);
  double loss = 0;
  for (int64_t b = 0; b < 4; ++b) {
    const float* row = data<float>(logits) + b * 3;
    double sum = 0;
    for (int c = 0; c < 3; ++c) sum += std::exp(double(row[c]));
    loss += std::log(sum) - row[data<int32_t>(s.batch.labels)[b]];
  }
  EXPECT_NEAR(loss, s.train(), 1e-5 * std::abs(loss));
}

// Of one sample: whatever stands beside it in the batch.
TEST(Vit, DropoutBelongsToTheSample) {
  Rig pair(small_config(0.4), DType::f64, false, 2), alone(small_config(0.4), DType::f64, false, 1);
  std::memcpy(alone.batch.pixels.data, pair.batch.pixels.slice(1, 2).data, size_t(alone.batch.pixels.bytes()));
  *data<int32_t>(alone.batch.labels) = data<int32_t>(pair.batch.labels)[1];
  *data<int64_t>(alone.batch.keys) = data<int64_t>(pair.batch.keys)[1];
  double both = pair.train(), second = alone.train();
  *data<int64_t>(alone.batch.keys) = data<int64_t>(pair.batch.keys)[0];
  std::memcpy(alone.batch.pixels.data, pair.batch.pixels.data, size_t(alone.batch.pixels.bytes()));
  *data<int32_t>(alone.batch.labels) = data<int32_t>(pair.batch.labels)[0];
  EXPECT_NEAR(both, alone.train() + second, 1e-12 * both);
}

TEST(Vit, NominalFlopsOfTheBaseModel) {
  VitConfig base;
  base.labels.assign(1000, "x");
  VitClassifier model(base, {});
  EXPECT_NEAR(35.13e9, model.flops(false), 0.01e9);  // reference: 2 x 17.56 G multiply-adds
  EXPECT_NEAR(105.15e9, model.flops(true), 0.01e9);
  EXPECT_EQ(86567656, model.parameters().count());
}

TEST(VitConfig, ImpossibleFieldsAreNamed) {
  auto complaint = [](auto change) {
    VitConfig c = small_config();
    change(c);
    try {
      c.validate();
    } catch (const Error& e) {
      EXPECT_EQ(Exit::config, e.code());
      return std::string(e.what());
    }
    return std::string("nothing");
  };
  EXPECT_NE(std::string::npos,
            complaint([](VitConfig& c) { c.num_attention_heads = 5; }).find("multiple of num_attention_heads (5)"));
  EXPECT_NE(std::string::npos, complaint([](VitConfig& c) { c.patch_size = 10; }).find("image_size"));
  EXPECT_NE(std::string::npos, complaint([](VitConfig& c) { c.hidden_act = "swish"; }).find("swish"));
  EXPECT_NE(std::string::npos, complaint([](VitConfig& c) { c.num_channels = 1; }).find("num_channels"));
  EXPECT_NE(std::string::npos, complaint([](VitConfig& c) { c.labels.clear(); }).find("class"));
}

}  // namespace
}  // namespace viaduct
