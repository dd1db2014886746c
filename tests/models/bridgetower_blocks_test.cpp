// What BridgeTower trains and what it leaves alone: the reports of every pass, frozen parts, counts and operations.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "tests/models/bridgetower_rig.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct {
namespace {

using test::BridgeTowerRig;
using test::kAllHeads;
using test::Pass;
using test::small_bridgetower;
using testing::Contains;
using testing::IsEmpty;

using testing::Not;
using testing::UnorderedElementsAreArray;

std::vector<std::string> block_names(ParameterStore& store) {
  std::vector<std::string> names;
  for (Range b : store.blocks()) names.push_back(store.block_name(b));
  return names;
}
bool has_duplicates(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  return std::adjacent_find(names.begin(), names.end()) != names.end();
}

constexpr const char* kWords = "bridgetower.text_model.embeddings.word_embeddings";
const std::vector<std::string> kOnlyPooled = {"bridgetower.cross_modal_image_layers.1",
                                              "bridgetower.cross_modal_poolers"};

TEST(BridgeTowerBlocks, EveryPassReportsEveryBlockOnce) {
  for (bool recompute : {false, true})
    for (Pass pass : test::kPasses) {
      BridgeTowerParts parts = kAllHeads;
      parts.recompute = recompute;
      BridgeTowerRig rig(small_bridgetower(), parts, DType::f32);
      rig.train(pass);
      const auto &needed = rig.sink->needed, &opened = rig.sink->opened, &reported = rig.sink->reported;
      EXPECT_THAT(reported, UnorderedElementsAreArray(block_names(rig.model.parameters())));
      EXPECT_FALSE(has_duplicates(needed) || has_duplicates(opened) || has_duplicates(reported));
      EXPECT_THAT(opened, UnorderedElementsAreArray(needed)) << "what is used is needed and opened";
      std::vector<std::string> unused(reported.begin(), reported.end() - std::ptrdiff_t(opened.size()));
      for (const std::string& name : unused) EXPECT_THAT(opened, Not(Contains(name))) << "the unused come first";
      EXPECT_EQ(reported.back(), kWords);
      EXPECT_EQ(needed.front(), kWords);
      for (const char* head : {"itm_score", "itc_heads", "mlm_score"})
        EXPECT_EQ(std::string(head).starts_with(test::name_of(pass)), std::ranges::count(opened, head) == 1);
      for (const std::string& name : kOnlyPooled) EXPECT_EQ(pass != Pass::mlm, std::ranges::count(opened, name) == 1);
    }
}

// Buckets are cut from the end of the flat buffer: blocks become ready roughly in that order.
TEST(BridgeTowerBlocks, BlocksBecomeReadyFromTheEnd) {
  BridgeTowerRig rig(small_bridgetower(), test::parts_for(Pass::itm), DType::f32);
  rig.train(Pass::itm);
  std::vector<std::string> names = block_names(rig.model.parameters()), reported = rig.sink->reported;
  std::reverse(reported.begin(), reported.end());
  auto place = [&](const std::string& name) { return std::ranges::find(names, name) - names.begin(); };
  std::ptrdiff_t early = 0;
  for (size_t i = 0; i < reported.size(); ++i) early = std::max(early, place(reported[i]) - std::ptrdiff_t(i));
  EXPECT_LE(early, 3) << "the embeddings of the image alone stand apart from where they are run";
}

TEST(BridgeTowerBlocks, TextsWithNothingHiddenReportAndLearnNothing) {
  BridgeTowerRig rig(small_bridgetower(), kAllHeads, DType::f32);
  for (int64_t i = 0; i < rig.masked_labels.numel(); ++i) data<int32_t>(rig.masked_labels)[i] = -100;
  EXPECT_EQ(0, rig.train(Pass::mlm));
  EXPECT_EQ(0, rig.sink->terms);
  EXPECT_THAT(rig.sink->reported, UnorderedElementsAreArray(block_names(rig.model.parameters())));
  for (int64_t i = 0; i < rig.grads().numel(); ++i) ASSERT_EQ(0, data<float>(rig.grads())[i]);
  EXPECT_TRUE(rig.work.arena.empty());
}

std::set<std::string> frozen_of(const BridgeTowerParts& parts) {
  BridgeTower model(small_bridgetower(), {}, parts);
  std::set<std::string> names;
  for (const Parameter& p : model.parameters().parameters())
    if (p.frozen()) names.insert(p.name);
  return names;
}
bool belongs(const std::string& name, std::initializer_list<const char*> prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const char* p) { return name.starts_with(std::string("bridgetower.") + p); });
}

TEST(BridgeTowerBlocks, WhatNoHeadReachesIsFrozen) {
  auto never = {"text_model.pooler.", "vision_model.visual.transformer.resblocks.3."};
  for (const std::string& name : frozen_of(kAllHeads)) EXPECT_TRUE(belongs(name, never)) << name;
  EXPECT_EQ(frozen_of(kAllHeads).size(), 2u + 12u);
  EXPECT_EQ(frozen_of(kAllHeads), frozen_of(test::parts_for(Pass::itm)));
  EXPECT_EQ(frozen_of(kAllHeads), frozen_of(test::parts_for(Pass::itc)));
  size_t more = 0;
  for (const std::string& name : frozen_of(test::parts_for(Pass::mlm))) {
    if (belongs(name, never)) continue;
    EXPECT_TRUE(belongs(name, {"cross_modal_text_pooler.", "cross_modal_image_pooler.", "cross_modal_image_layers.1."}))
        << name;
    ++more;
  }
  EXPECT_EQ(more, 4u + 20u);
  BridgeTower without_heads(small_bridgetower(), {}, {});
  EXPECT_THAT(without_heads.parameters().blocks(), IsEmpty());
}

TEST(BridgeTowerBlocks, FrozenPartsAreWhatTheirNamesSay) {
  auto frozen_beyond = [](BridgeTowerParts parts, std::initializer_list<const char*> prefixes) {
    auto base = frozen_of(kAllHeads), found = frozen_of(parts);
    BridgeTower model(small_bridgetower(), {}, kAllHeads);
    for (const Parameter& p : model.parameters().parameters())
      EXPECT_EQ(found.contains(p.name), base.contains(p.name) || belongs(p.name, prefixes)) << p.name;
  };
  BridgeTowerParts parts = kAllHeads;
  parts.freeze_text = true;
  frozen_beyond(parts, {"text_model."});
  parts = kAllHeads, parts.freeze_vision = true;
  frozen_beyond(parts, {"vision_model."});
  parts = kAllHeads, parts.freeze_cross = true;
  frozen_beyond(parts, {"cross_modal_", "token_type_embeddings."});
}

// Whatever is frozen, the other gradients stay what they are.
TEST(BridgeTowerBlocks, FreezingLeavesTheOtherGradientsAlone) {
  for (const char* link : {"add", "interpolate"})
    for (Pass pass : test::kPasses) {
      BridgeTowerConfig config = small_bridgetower(link, 0.1);
      BridgeTowerRig whole(config, kAllHeads, DType::f64);
      double loss = whole.train(pass);
      for (int frozen = 1; frozen < 16; ++frozen) {
        BridgeTowerParts parts = kAllHeads;
        parts.freeze_text = frozen & 1, parts.freeze_vision = frozen & 2, parts.freeze_cross = frozen & 4;
        parts.recompute = frozen & 8;
        BridgeTowerRig rig(config, parts, DType::f64);
        EXPECT_NEAR(loss, rig.train(pass), 1e-12 * loss);
        EXPECT_THAT(rig.sink->reported, UnorderedElementsAreArray(block_names(rig.model.parameters())));
        for (const Parameter& p : rig.model.parameters().parameters()) {
          if (p.frozen()) continue;
          Tensor want = whole.model.parameters().grads(whole.model.parameters().find(p.name).range);
          Tensor got = rig.model.parameters().grads(p.range);
          for (int64_t i = 0; i < got.numel(); ++i)
            ASSERT_NEAR(data<double>(want)[i], data<double>(got)[i], 1e-11 * (1 + std::abs(data<double>(want)[i])))
                << p.name << " element " << i << " of " << test::name_of(pass) << " frozen " << frozen;
        }
      }
    }
}

// Between forward and backward the frozen values are spoilt: a backward that reads one spoils a gradient.
TEST(BridgeTowerBlocks, BackwardStopsAtTheLowestTrainedBlock) {
  for (int frozen : {1, 2, 3, 7}) {
    BridgeTowerParts parts = kAllHeads;
    parts.freeze_text = frozen & 1, parts.freeze_vision = frozen & 2, parts.freeze_cross = frozen & 4;
    BridgeTowerRig rig(small_bridgetower(), parts, DType::f32);
    rig.train(Pass::itm);
    std::vector<float> want(data<float>(rig.grads()), data<float>(rig.grads()) + rig.grads().numel());
    rig.model.parameters().zero_gradients(test::host_stream());

    auto scope = rig.work.arena.scope("step");
    BridgeTower::SavedPtr saved = rig.model.new_saved();
    Tensor logits = rig.model.itm(rig.work.ctx, nullptr, rig.in, saved.get());
    Tensor losses = rig.work.arena.temp({4}, DType::f32), d = rig.work.arena.temp(logits.shape, DType::f32);
    ops::cross_entropy(rig.work.ctx, losses, d, logits, rig.pair_labels);
    for (Parameter& p : rig.model.parameters().parameters()) {
      bool post = p.name.find("ln_post") != p.name.npos;  // what the transform reads is made again from it
      if (p.frozen() && !post)
        std::fill_n(data<float>(p.value), p.range.size(), std::numeric_limits<float>::quiet_NaN());
    }
    rig.work.packed.values_changed();
    rig.model.itm_backward(rig.work.ctx, *rig.sink, d, *saved);
    EXPECT_TRUE(std::equal(want.begin(), want.end(), data<float>(rig.grads()))) << "frozen " << frozen;
  }
}

// Of frozen towers only what the bridges read is kept, however deep they are.
TEST(BridgeTowerBlocks, FrozenTowersKeepNothing) {
  auto kept = [](const BridgeTowerParts& parts, int64_t layers, Pass pass) {
    BridgeTowerConfig config = small_bridgetower("add", 0.1);
    config.text.num_hidden_layers = config.vision.num_hidden_layers = layers;
    BridgeTowerRig rig(config, parts, DType::f32, Device::meta());
    rig.run(pass);
    return rig.work.arena.peak().kept;
  };
  for (Pass pass : test::kPasses) {
    BridgeTowerParts parts = kAllHeads;
    EXPECT_LT(kept(parts, 3, pass), kept(parts, 6, pass));
    parts.freeze_text = parts.freeze_vision = true;
    EXPECT_EQ(kept(parts, 3, pass), kept(parts, 6, pass));
    int64_t with_cross = kept(parts, 3, pass);
    parts.freeze_cross = true;
    EXPECT_LT(kept(parts, 3, pass), with_cross / 10) << "what the heads read and make";
  }
}

BridgeTowerConfig large_bridgetower() {
  BridgeTowerConfig c;
  c.hidden_size = c.text.hidden_size = c.vision.hidden_size = 1024;
  c.text.num_hidden_layers = c.vision.num_hidden_layers = 24;
  c.text.num_attention_heads = 16, c.text.intermediate_size = 4096;
  c.vision.patch_size = 14, c.vision.image_size = 294;
  return c;
}

TEST(BridgeTowerCounts, ParametersOfTheRealModels) {
  BridgeTowerConfig base, large = large_bridgetower(), untied;
  untied.text.tie_word_embeddings = false;
  auto count = [](const BridgeTowerConfig& c, BridgeTowerParts parts) {
    return BridgeTower(c, {}, parts).parameters().count();
  };
  EXPECT_EQ(326347008, count(base, {}));
  EXPECT_EQ(326350082, count(base, {.itm = true}));
  EXPECT_EQ(327921409, count(base, {.itc = true}));
  EXPECT_EQ(326989401, count(base, {.mlm = true}));
  EXPECT_EQ(365592921, count(untied, {.mlm = true}));
  EXPECT_EQ(864514048, count(large, {}));
  EXPECT_EQ(864518146, count(large, {.itm = true}));
  EXPECT_EQ(865615961, count(large, {.mlm = true}));
  BridgeTower itc(large, {}, {.itc = true});
  EXPECT_EQ(866612737, itc.parameters().count());
  EXPECT_EQ(865563137, itc.parameters().count() - itc.parameters().frozen_count());  // without the text's pooler
}

TEST(BridgeTowerCounts, OperationsOfTheRealModels) {
  BridgeTower base({}, {}, kAllHeads), large(large_bridgetower(), {}, kAllHeads);
  auto giga = [](const BridgeTower& m, int64_t tokens, bool backward, bool executed = false, Pass pass = Pass::itc) {
    return m.flops(pass, tokens, backward, executed) / 1e9;
  };
  EXPECT_NEAR(116.17, giga(base, 50, false), 0.01);
  EXPECT_NEAR(348.13, giga(base, 50, true), 0.01);
  EXPECT_NEAR(140.51, giga(base, 128, false), 0.01);
  EXPECT_NEAR(421.14, giga(base, 128, true), 0.01);
  EXPECT_NEAR(429.27, giga(large, 50, false), 0.01);
  EXPECT_NEAR(1287.27, giga(large, 50, true), 0.01);
  EXPECT_NEAR(496.46, giga(large, 128, false), 0.01);
  EXPECT_NEAR(1488.86, giga(large, 128, true), 0.01);
  EXPECT_NEAR(1241.4, giga(large, 32, true), 0.1);
  EXPECT_NEAR(140.51 - 0.39 + 10.03, giga(base, 128, false, false, Pass::mlm), 0.02);

  // Rows that nobody reads: those of the last pair (12.1 and 3.5) and HF's second transform (0.93).
  EXPECT_NEAR(496.46 - 12.1 - 3.5 - 0.93, giga(large, 128, false, true), 0.3);
  EXPECT_LT(giga(large, 128, false, true, Pass::mlm), giga(large, 128, false, false, Pass::mlm) - 14.5);
  BridgeTowerParts parts = kAllHeads;
  parts.freeze_text = parts.freeze_vision = true;
  BridgeTower frozen(large_bridgetower(), {}, parts);
  EXPECT_EQ(giga(frozen, 128, false, true), giga(large, 128, false, true));
  EXPECT_LT(giga(frozen, 128, true, true), giga(large, 128, true, true) - 2 * (286.16 + 78.92));
}

TEST(BridgeTowerCounts, InitialValuesFollowTheRules) {
  BridgeTowerConfig config = small_bridgetower("interpolate");
  config.initializer_factor = config.text.initializer_factor = 1;
  BridgeTowerRig rig(config, kAllHeads, DType::f32);
  auto spread = [&](const std::string& name) {
    Parameter& p = rig.model.parameters().find(name);
    double sum = 0;
    for (int64_t i = 0; i < p.range.size(); ++i) sum += std::pow(data<float>(p.value)[i], 2);
    return std::sqrt(sum / double(p.range.size()));
  };
  const std::string vision = "bridgetower.vision_model.visual.", block = vision + "transformer.resblocks.0.";
  EXPECT_NEAR(spread(block + "attn.qkv.weight"), 1.0 / 8, 0.01);
  EXPECT_NEAR(spread(block + "attn.out_proj.weight"), 1.0 / 8 / std::sqrt(8.0), 0.002);
  EXPECT_NEAR(spread(block + "mlp.c_proj.weight"), 1.0 / 8 / std::sqrt(8.0), 0.002);
  EXPECT_NEAR(spread(block + "mlp.c_fc.weight"), 1 / std::sqrt(128.0), 0.003);
  EXPECT_NEAR(spread(vision + "embeddings.position_embedding.weight"), 1.0 / 8, 0.02);
  EXPECT_NEAR(spread(vision + "embeddings.patch_embedding.weight"), 0.05, 0.003);
  EXPECT_NEAR(spread("bridgetower.text_model.embeddings.word_embeddings.weight"), 0.05, 0.01);
  EXPECT_NEAR(spread("bridgetower.cross_modal_image_transform.weight"), 0.05, 0.005);
  EXPECT_NEAR(spread("mlm_score.transform.dense.weight"), 0.05, 0.01);
  EXPECT_EQ(spread("mlm_score.bias"), 0);
  EXPECT_EQ(spread("bridgetower.cross_modal_text_layernorm.weight"), 1);
  EXPECT_EQ(spread("bridgetower.cross_modal_text_link_tower.0.beta"), 0.5);
  EXPECT_NEAR(spread("logit_scale"), 2.6592, 1e-6);
}

}  // namespace
}  // namespace viaduct
