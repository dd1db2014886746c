// BridgeTower as a whole on small shapes: gradients, recomputation, memory plan, padding, dropout, precision. Its numbers
// against transformers are in bridgetower_golden_test.cpp.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tests/models/bridgetower_rig.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct {
namespace {

using test::BridgeTowerRig;
using test::Pass;
using test::small_bridgetower;

// Every parameter's gradient against central differences of the loss, in fp64.
void check_gradients(Pass pass, const BridgeTowerConfig& config, bool recompute) {
  BridgeTowerParts parts = test::parts_for(pass);
  parts.recompute = recompute;
  BridgeTowerRig rig(config, parts, DType::f64);
  double loss = rig.train(pass);
  EXPECT_NEAR(loss, rig.loss(pass), 1e-12 * loss) << "with and without what is kept";
  std::vector<double> got(data<double>(rig.grads()), data<double>(rig.grads()) + rig.grads().numel());
  double largest = 0;
  for (double g : got) largest = std::max(largest, std::abs(g));
  for (Parameter& p : rig.model.parameters().parameters())
    for (int64_t i = p.range.size() / 3; i < p.range.size() && !p.frozen(); i += 1 + p.range.size() / 2) {
      double& value = data<double>(p.value)[i];
      double kept = value, h = 1e-5;
      value = kept + h, rig.work.packed.values_changed();
      double up = rig.loss(pass);
      value = kept - h, rig.work.packed.values_changed();
      double down = rig.loss(pass);
      value = kept, rig.work.packed.values_changed();
      ASSERT_NEAR((up - down) / (2 * h), got[size_t(p.range.begin + i)], 2e-7 * largest) << p.name << " element " << i;
    }
}

TEST(BridgeTower, GradientsAreThoseOfTheMatchingLoss) { check_gradients(Pass::itm, small_bridgetower(), false); }
TEST(BridgeTower, GradientsAreThoseOfTheContrastiveLoss) { check_gradients(Pass::itc, small_bridgetower(), false); }
TEST(BridgeTower, GradientsAreThoseOfTheLanguageLoss) { check_gradients(Pass::mlm, small_bridgetower(), false); }
TEST(BridgeTower, GradientsAreThoseOfTheLossWithScaledLinks) {
  check_gradients(Pass::itc, small_bridgetower("scaled_add", 0.2), false);
}
TEST(BridgeTower, GradientsAreThoseOfTheLossWithInterpolatedLinks) {
  check_gradients(Pass::itm, small_bridgetower("interpolate", 0.2), true);
}
TEST(BridgeTower, GradientsAreThoseOfTheLossWithADecoderOfItsOwn) {
  BridgeTowerConfig config = small_bridgetower("interpolate", 0.2);
  config.text.tie_word_embeddings = false;
  check_gradients(Pass::mlm, config, true);
}
TEST(BridgeTower, GradientsAreThoseOfTheLossWithOneLevel) {
  BridgeTowerConfig config = small_bridgetower();
  config.num_hidden_layers = 1;
  check_gradients(Pass::itc, config, false);
  check_gradients(Pass::mlm, config, false);
}

TEST(BridgeTower, PassesAccumulate) {
  BridgeTowerRig rig(small_bridgetower("add", 0.1), test::kAllHeads, DType::f64);
  std::vector<double> sum(size_t(rig.grads().numel()), 0);
  for (Pass pass : test::kPasses) {
    rig.train(pass);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += data<double>(rig.grads())[i];
  }
  rig.model.parameters().zero_gradients(test::host_stream());
  for (Pass pass : test::kPasses) rig.run(pass);
  for (size_t i = 0; i < sum.size(); ++i)
    ASSERT_NEAR(sum[i], data<double>(rig.grads())[i], 1e-12 * (1 + std::abs(sum[i])));
}

bool equal_bits(Tensor a, Tensor b) { return std::memcmp(a.data, b.data, size_t(a.bytes())) == 0; }

TEST(BridgeTower, RecomputationChangesNoBit) {
  BridgeTowerParts recompute = test::kAllHeads;
  recompute.recompute = true;
  for (DType dtype : {DType::f32, DType::bf16})
    for (Pass pass : test::kPasses) {
      BridgeTowerRig plain(small_bridgetower("add", 0.1), test::kAllHeads, dtype);
      BridgeTowerRig recomputed(small_bridgetower("add", 0.1), recompute, dtype);
      EXPECT_EQ(plain.train(pass), recomputed.train(pass)) << test::name_of(pass);
      EXPECT_TRUE(equal_bits(plain.grads(), recomputed.grads())) << test::name_of(pass);
      EXPECT_LT(recomputed.work.arena.peak().bytes, plain.work.arena.peak().bytes) << test::name_of(pass);
    }
}

TEST(BridgeTower, DropoutIsDrawnFromTheSample) {
  for (Pass pass : test::kPasses) {
    BridgeTowerRig rig(small_bridgetower("add", 0.3), test::kAllHeads, DType::f32);
    BridgeTowerRig again(small_bridgetower("add", 0.3), test::kAllHeads, DType::f32);
    BridgeTowerRig other(small_bridgetower("add", 0.3), test::kAllHeads, DType::f32);
    data<int64_t>(other.keys)[0] += 1;
    double loss = rig.train(pass);
    EXPECT_EQ(loss, again.train(pass));
    EXPECT_TRUE(equal_bits(rig.grads(), again.grads()));
    EXPECT_NE(loss, other.train(pass));
    other.work.ctx.training = rig.work.ctx.training = false;
    EXPECT_EQ(rig.train(pass), other.train(pass));
  }
}

TEST(BridgeTower, PlannedPeakIsExecutedPeak) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (const char* link : {"add", "interpolate"})
      for (int variant = 0; variant < 8; ++variant)
        for (Pass pass : test::kPasses) {
          BridgeTowerParts parts = test::kAllHeads;
          parts.freeze_text = variant & 1, parts.freeze_cross = variant & 2, parts.recompute = variant & 4;
          BridgeTowerConfig config = small_bridgetower(link, variant & 1 ? 0.1 : 0);
          BridgeTowerRig planned(config, parts, dtype, Device::meta()), executed(config, parts, dtype);
          for (int64_t i = 0; i < executed.masked_labels.numel(); ++i) data<int32_t>(executed.masked_labels)[i] = 3;
          planned.run(pass), executed.run(pass);
          EXPECT_GT(planned.work.arena.peak().bytes, 0);
          EXPECT_EQ(planned.work.arena.peak().bytes, executed.work.arena.peak().bytes) << test::name_of(pass);
          EXPECT_EQ(planned.work.arena.peak().kept, executed.work.arena.peak().kept) << test::name_of(pass);
          EXPECT_EQ(planned.work.packed.bytes(), executed.work.packed.bytes());
          EXPECT_TRUE(executed.work.arena.empty());
        }
}

// The same texts with room for 10 tokens and for the 6 that the longest has.
TEST(BridgeTower, PaddingChangesNothing) {
  BridgeTowerConfig config = small_bridgetower();
  BridgeTowerRig wide(config, test::kAllHeads, DType::f32, Device::cpu(), 4, 10);
  BridgeTowerRig trimmed(config, test::kAllHeads, DType::f32, Device::cpu(), 4, 6);
  for (int64_t b = 0; b < 4; ++b) {
    auto cut = [&](Tensor to, Tensor from) {
      std::memcpy(to.slice(b, b + 1).data, from.slice(b, b + 1).data, size_t(to.bytes() / 4));
    };
    cut(trimmed.in.ids, wide.in.ids), cut(trimmed.in.mask, wide.in.mask);
    cut(trimmed.masked_labels, wide.masked_labels);
  }
  std::memcpy(trimmed.in.pixels.data, wide.in.pixels.data, size_t(wide.in.pixels.bytes()));
  auto scope = wide.work.arena.scope("test"), other = trimmed.work.arena.scope("test");
  auto both = [&](auto f) { EXPECT_TRUE(equal_bits(f(wide), f(trimmed))); };
  both([](BridgeTowerRig& r) { return r.model.itm(r.work.ctx, nullptr, r.in, nullptr); });
  both([](BridgeTowerRig& r) { return r.model.itc(r.work.ctx, nullptr, r.in, nullptr).text; });
  both([](BridgeTowerRig& r) { return r.model.itc(r.work.ctx, nullptr, r.in, nullptr).cross; });
  both([](BridgeTowerRig& r) { return r.model.mlm(r.work.ctx, nullptr, r.in, r.masked_labels, nullptr).logits; });
}

// The outputs of samples `begin` to `end` of a batch, without the padding that the longest of them does not need.
std::vector<std::vector<float>> outputs_of(const BridgeTowerRig& all, int64_t begin, int64_t end) {
  const int64_t T = std::min(all.in.ids.shape[1], 2 + end);  // sample b has 3 + b tokens
  BridgeTowerRig some(all.model.config(), test::kAllHeads, DType::f32, Device::cpu(), end - begin, T);
  for (int64_t b = 0; b < end - begin; ++b) {
    auto cut = [&](Tensor to, Tensor from) {
      Tensor row = to.slice(b, b + 1);
      std::memcpy(row.data, from.slice(begin + b, begin + b + 1).data, size_t(row.bytes()));
    };
    cut(some.in.ids, all.in.ids), cut(some.in.mask, all.in.mask), cut(some.in.pixels, all.in.pixels);
    cut(some.masked_labels, all.masked_labels);
  }
  some.work.ctx.training = false;
  auto scope = some.work.arena.scope("test");
  Ctx& ctx = some.work.ctx;
  BridgeTower::Embeddings e = some.model.itc(ctx, nullptr, some.in, nullptr);
  Tensor masked = some.model.mlm(ctx, nullptr, some.in, some.masked_labels, nullptr).logits;
  std::vector<std::vector<float>> outputs;
  for (Tensor t : {some.model.itm(ctx, nullptr, some.in, nullptr), e.text, e.image, e.cross, masked})
    outputs.emplace_back(data<float>(t), data<float>(t) + t.numel());
  return outputs;
}

// Widths and rows at which products are cut into slices, blocks and tiles of every kind.
TEST(BridgeTower, APairHasTheSameBitsWhateverItIsBatchedWith) {
  BridgeTowerConfig config = small_bridgetower();
  config.hidden_size = config.text.hidden_size = 132, config.text.num_attention_heads = 3;
  config.text.intermediate_size = 1030, config.text.max_position_embeddings = 60;
  config.vision.hidden_size = 128;
  const int64_t samples = 40, tokens = 52;  // 2,080 rows
  const BridgeTowerRig all(config, test::kAllHeads, DType::f32, Device::cpu(), samples, tokens);
  const auto together = outputs_of(all, 0, samples);
  for (int64_t size : {1, 8})
    for (int64_t begin = 0; begin < samples; begin += size == 1 ? 3 : size) {
      const auto some = outputs_of(all, begin, begin + size);
      for (size_t output = 0; output < some.size(); ++output) {
        const bool masked = output + 1 == some.size();  // a row for every masked token, whose number varies
        const auto &part = some[output], &whole = together[output];
        const auto first = masked ? std::search(whole.begin(), whole.end(), part.begin(), part.end())
                                  : whole.begin() + std::ptrdiff_t(whole.size()) / samples * begin;
        ASSERT_NE(first, whole.end()) << "masked tokens of pairs from " << begin;
        EXPECT_TRUE(std::equal(part.begin(), part.end(), first)) << "output " << output << " of pairs from " << begin;
      }
    }
}

TEST(BridgeTower, Bf16IsCloseToFp32) {
  BridgeTowerConfig config = small_bridgetower();
  config.initializer_factor = config.text.initializer_factor = 2;
  for (Pass pass : test::kPasses) {
    BridgeTowerRig exact(config, test::kAllHeads, DType::f32), rounded(config, test::kAllHeads, DType::bf16);
    for (Parameter& p : exact.model.parameters().parameters()) {  // the values that bf16 can hold
      const bf16* values = data<bf16>(rounded.model.parameters().find(p.name).value);
      for (int64_t i = 0; i < p.range.size(); ++i) data<float>(p.value)[i] = float(values[i]);
    }
    double want = exact.train(pass);
    EXPECT_NEAR(rounded.train(pass), want, 3e-2 * std::abs(want)) << test::name_of(pass);
    double dot = 0, a2 = 0, b2 = 0;
    for (int64_t i = ParameterStore::kTailSlot; i < exact.grads().numel(); ++i) {
      double a = data<float>(exact.grads())[i], b = data<float>(rounded.grads())[i];
      dot += a * b, a2 += a * a, b2 += b * b;
    }
    EXPECT_GT(dot / std::sqrt(a2 * b2), 0.99) << test::name_of(pass);
  }
}

}  // namespace
}  // namespace viaduct
