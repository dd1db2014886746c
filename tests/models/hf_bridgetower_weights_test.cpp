// The weights of BridgeTower folders: those of other classes and other programs, what is missing there and what is left
// over, and that an export is what transformers saves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "models/bridgetower.hpp"
#include "models/hf_config.hpp"
#include "models/hf_export.hpp"
#include "models/hf_weights.hpp"
#include "tests/models/tensors.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/source_path.hpp"

namespace viaduct {
namespace {

using test::Log;
using test::message_of;
using test::read_bytes;
using test::TempFolder;
using test::Tensors;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const Path kTiny = test::source_path("tests/golden/bridgetower_tiny");  // all heads, the decoder tied: not in the file
const Path kOwnDecoder = test::source_path("tests/golden/bridgetower_scaled_add");
const BridgeTowerParts kAll = {.itm = true, .itc = true, .mlm = true};
const std::string kDecoder = "mlm_score.decoder.weight", kTextPooler = "bridgetower.text_model.pooler.dense.",
                  kWords = "bridgetower.text_model.embeddings.word_embeddings.weight",
                  kTextPositions = "bridgetower.text_model.embeddings.position_embeddings.weight",
                  kPositions = "bridgetower.vision_model.visual.embeddings.position_embedding.weight";

BridgeTowerConfig config_of(const Path& folder) { return bridgetower(read_model_config(folder)); }

struct Model {
  Model(const BridgeTowerConfig& config, BridgeTowerParts parts, DType dtype = DType::f32)
      : tower(config, {}, parts), store(tower.parameters()) {
    store.materialize(Device::cpu(), dtype, false);
  }
  Model(const Path& folder, BridgeTowerParts parts) : Model(config_of(folder), parts) {}
  LoadedWeights load(const Path& folder, uint64_t seed = 1) {
    return load_weights(folder, tower.config(), store, seed);
  }
  std::vector<float> values(const std::string& name) { return test::values(store, name); }
  void expect_equal(Model& other, const std::string& except) {
    for (const Parameter& p : store.parameters())
      if (!p.name.starts_with(except)) {
        EXPECT_EQ(values(p.name), other.values(p.name)) << p.name;
      }
  }
  ValuesOf values() {
    return [all = parts()](const Parameter& p) { return values_of(all, p); };
  }
  std::vector<ValuePart> parts() {
    std::vector<ValuePart> all = {{store.range(), store.values(store.range())}};
    if (!store.frozen_range().empty()) all.push_back({store.frozen_range(), store.frozen_values()});
    return all;
  }
  BridgeTower tower;
  ParameterStore& store;
};

TEST(BridgeTowerHfWeights, JoinsWhatIsFusedHere) {
  Model model(kTiny, kAll);
  LoadedWeights loaded = model.load(kTiny);
  EXPECT_THAT(loaded.new_heads, IsEmpty());
  EXPECT_THAT(loaded.ignored, IsEmpty());
  EXPECT_FALSE(loaded.interpolated_positions);
  Tensors tensors(kTiny);
  auto joined = [&](const std::string& at, std::initializer_list<const char*> names, const char* kind) {
    std::vector<float> all;
    for (const char* name : names)
      for (float v : tensors.of(at + name + kind)) all.push_back(v);
    return all;
  };
  for (const char* kind : {".weight", ".bias"}) {
    std::string text = "bridgetower.text_model.encoder.layer.1.attention.self.";
    EXPECT_EQ(model.values(text + "qkv" + kind), joined(text, {"query", "key", "value"}, kind));
    std::string cross = "bridgetower.cross_modal_image_layers.1.crossattention.self.";
    EXPECT_EQ(model.values(cross + "kv" + kind), joined(cross, {"key", "value"}, kind));
    EXPECT_EQ(model.values(cross + "query" + kind), joined(cross, {"query"}, kind));
  }
  std::string vision = "bridgetower.vision_model.visual.transformer.resblocks.2.attn.";
  EXPECT_EQ(model.values(vision + "qkv.weight"), tensors.of(vision + "in_proj_weight"));
  EXPECT_EQ(model.values(vision + "qkv.bias"), tensors.of(vision + "in_proj_bias"));
  for (const std::string name : {"logit_scale", "bridgetower.vision_model.visual.embeddings.class_embedding",
                                 "bridgetower.vision_model.visual.embeddings.patch_embedding.weight"})
    EXPECT_EQ(model.values(name), tensors.of(name)) << name;
  std::string link = "bridgetower.cross_modal_text_link_tower.0.scaled_factor";
  Model scaled(kOwnDecoder, {.itm = true});
  scaled.load(kOwnDecoder);
  EXPECT_EQ(scaled.values(link), Tensors(kOwnDecoder).of(link));
}

TEST(BridgeTowerHfWeights, IgnoresOtherHeadsAndBuffers) {
  Log log;
  TempFolder folder;
  Tensors tensors(kTiny);
  std::vector<int64_t> ids(14);
  tensors.items.push_back({"bridgetower.text_model.embeddings.position_ids", "I64", {1, 14}, ids.data()});
  tensors.write(folder.path());
  Model model(kTiny, {.itm = true}), reference(kTiny, {.itm = true});
  LoadedWeights loaded = model.load(folder.path());
  EXPECT_THAT(loaded.new_heads, IsEmpty());
  EXPECT_EQ(loaded.ignored.size(), 13u);  // seven of the contrastive heads, five of the language model's, a buffer
  EXPECT_THAT(loaded.ignored, AllOf(Contains("logit_scale"), Contains("mlm_score.bias"),
                                    Contains("bridgetower.text_model.embeddings.position_ids")));
  EXPECT_THAT(log.text, HasSubstr("13 tensors of the checkpoint that this model does not have are ignored"));
  reference.load(kTiny);
  model.expect_equal(reference, "nothing");
}

TEST(BridgeTowerHfWeights, ReadsABareBridgeTowerModelAndMakesTheHeads) {
  Log log;
  TempFolder folder;
  Tensors tensors(kTiny);
  for (const char* head : {"itm_score", "itc_", "mlm_score", "logit_scale"}) tensors.drop(head);
  tensors.strip("bridgetower.");
  tensors.write(folder.path());
  Model model(kTiny, kAll), reference(kTiny, kAll), fresh(kTiny, kAll);
  EXPECT_THAT(model.load(folder.path(), 7).new_heads,
              testing::UnorderedElementsAre("itm_score", "itc_text_head", "itc_image_head", "itc_cross_modal_head",
                                            "logit_scale", "mlm_score"));
  EXPECT_THAT(log.text, HasSubstr("itm_score is initialised anew (itm_score.fc.weight: expected [2, 128], found no"));
  reference.load(kTiny);
  fresh.store.initialize(7);
  for (const Parameter& p : model.store.parameters()) {
    Model& expected = p.name.starts_with("bridgetower.") ? reference : fresh;
    EXPECT_EQ(model.values(p.name), expected.values(p.name)) << p.name;
  }
}

TEST(BridgeTowerHfWeights, ReadsShards) {
  TempFolder folder;
  Tensors(kTiny).write_shards(folder.path());
  Model model(kTiny, kAll), reference(kTiny, kAll);
  model.load(folder.path());
  reference.load(kTiny);
  model.expect_equal(reference, "nothing");
}

// As optimum-habana saves it: without the text tower's pooler, which nothing reads.
TEST(BridgeTowerHfWeights, ToleratesAMissingTextPooler) {
  Log log;
  TempFolder folder;
  Tensors tensors(kTiny);
  tensors.drop(kTextPooler);
  tensors.write(folder.path());
  Model model(kTiny, kAll), reference(kTiny, kAll), fresh(kTiny, kAll);
  EXPECT_THAT(model.load(folder.path(), 7).new_heads, IsEmpty());
  EXPECT_THAT(log.text, HasSubstr(kTextPooler + "weight is initialised anew"));
  reference.load(kTiny);
  fresh.store.initialize(7);
  model.expect_equal(reference, kTextPooler);
  EXPECT_EQ(model.values(kTextPooler + "weight"), fresh.values(kTextPooler + "weight"));
  EXPECT_EQ(model.values(kTextPooler + "bias"), fresh.values(kTextPooler + "bias"));
}

TEST(BridgeTowerHfWeights, TheDecoderIsTheWordEmbeddingUnlessItIsStored) {
  Log log;
  Model own(kOwnDecoder, {.mlm = true});
  own.load(kOwnDecoder);
  EXPECT_EQ(own.values(kDecoder), Tensors(kOwnDecoder).of(kDecoder));
  EXPECT_NE(own.values(kDecoder), own.values(kWords));

  TempFolder folder;
  Tensors tensors(kOwnDecoder);
  tensors.drop(kDecoder);
  tensors.write(folder.path());
  Model borrowed(kOwnDecoder, {.mlm = true});
  EXPECT_THAT(borrowed.load(folder.path()).new_heads, IsEmpty());
  EXPECT_EQ(borrowed.values(kDecoder), borrowed.values(kWords));
  EXPECT_THAT(log.text, HasSubstr(kDecoder + " starts as the word embeddings"));

  tensors.drop("mlm_score");
  tensors.write(folder.path());
  Model without_head(kOwnDecoder, {.mlm = true});
  EXPECT_THAT(without_head.load(folder.path()).new_heads, ElementsAre("mlm_score"));
  EXPECT_EQ(without_head.values(kDecoder), without_head.values(kWords));

  BridgeTowerConfig tied = config_of(kOwnDecoder);  // transformers overwrites a stored decoder then
  tied.text.tie_word_embeddings = true;
  Model model(tied, {.mlm = true});
  EXPECT_THAT(model.load(kOwnDecoder).ignored, Contains(kDecoder));
}

TEST(BridgeTowerHfWeights, InterpolatesTheVisionTowersPositions) {
  Log log;
  BridgeTowerConfig config = config_of(kTiny);
  config.vision.image_size = 80;
  Model model(config, kAll), reference(kTiny, kAll);
  EXPECT_TRUE(model.load(kTiny).interpolated_positions);
  EXPECT_THAT(log.text, HasSubstr("interpolated from 2 x 2 to 5 x 5 patches"));
  reference.load(kTiny);
  EXPECT_EQ(model.values(kPositions), interpolate_positions(reference.values(kPositions), 2, 5, 64));
  model.expect_equal(reference, kPositions);
}

TEST(BridgeTowerHfWeights, NamesWhatDoesNotFit) {
  Log log;
  BridgeTowerConfig config = config_of(kTiny);
  config.text.vocab_size = 120, config.text.max_position_embeddings = 20;
  Model other(config, {.mlm = true});
  EXPECT_THAT(message_of([&] { other.load(kTiny); }),
              AllOf(HasSubstr((kTiny / "model.safetensors").string() + ": the weights do not fit the model:"),
                    HasSubstr(kWords + ": expected [120, 64] (text_config.vocab_size), found [99, 64]"),
                    HasSubstr(kTextPositions + ": expected [20, 64] (text_config.max_position_embeddings), found"),
                    Not(HasSubstr("resblocks"))));
  TempFolder folder;
  Tensors tensors(kTiny);
  tensors.drop("crossattention.self.key");  // 2 modalities, 2 layers, weight and bias
  tensors.drop("resblocks.1.attn.in_proj");
  tensors.drop("token_type_embeddings");
  tensors.write(folder.path());
  Model model(kTiny, kAll);
  EXPECT_THAT(
      message_of([&] { model.load(folder.path()); }),
      AllOf(
          HasSubstr("bridgetower.vision_model.visual.transformer.resblocks.1.attn.in_proj_weight: expected [192, 64], "
                    "found no such tensor"),
          HasSubstr("and 2 more")));
  EXPECT_THAT(message_of([&] { model.load(test::source_path("tests/golden/vit_tiny")); }), HasSubstr("more"));
  EXPECT_EQ(log.text, "") << "nothing is said of what did not come to pass";
}

TEST(BridgeTowerHfWeights, KeepsUnroundedValuesOfAnyShards) {
  BridgeTowerConfig config = config_of(kTiny);
  BridgeTowerParts parts = {.itm = true, .freeze_text = true};
  TempFolder folder;
  Tensors tensors(kTiny);
  for (auto& value : tensors.values)
    for (float& v : value) v += 1e-4f;  // no longer exact in bf16
  tensors.write(folder.path());
  Model full(config, parts), half(config, parts, DType::bf16);
  full.load(folder.path());
  ASSERT_FALSE(full.store.frozen_range().empty());
  Range trained = full.store.range(), frozen = full.store.frozen_range();
  int64_t cut = trained.begin + trained.size() / 3 + 17;  // inside of a parameter
  const Range shards[] = {{trained.begin, cut}, {cut + 1000, trained.end}, {frozen.begin + 5, frozen.begin + 70}};
  std::vector<Buffer> buffers;
  std::vector<ValuePart> masters;
  for (Range r : shards) {
    buffers.emplace_back(Device::cpu(), r.size() * 4);
    std::memset(buffers.back().data(), 0, size_t(r.size() * 4));
    masters.push_back({r, buffers.back().view(0, {r.size()}, DType::f32)});
  }
  load_weights(folder.path(), config, half.store, 1, masters);
  int64_t compared = 0;
  for (const Parameter& p : full.store.parameters())
    for (const ValuePart& part : masters)
      for (int64_t i = std::max(p.range.begin, part.range.begin); i < std::min(p.range.end, part.range.end); ++i) {
        ASSERT_EQ(data<float>(part.values)[i - part.range.begin], data<float>(p.value)[i - p.range.begin]) << p.name;
        ++compared;
      }
  EXPECT_GT(compared, trained.size() / 2);
  EXPECT_NE(half.values("itm_score.fc.weight"), full.values("itm_score.fc.weight"));
}

TEST(BridgeTowerHfExport, IsWhatTransformersSaves) {
  TempFolder parent;
  Path folder = parent / "model";
  Model model(kTiny, {.itm = true, .freeze_vision = true});
  model.load(kTiny);
  export_model(folder, model.tower.config(), "BridgeTowerForImageAndTextRetrieval", model.store, model.values(), {});
  Tensors ours(folder), theirs(kTiny);
  for (const char* head : {"itc_", "logit_scale", "mlm_score"}) theirs.drop(head);
  ASSERT_EQ(ours.items.size(), theirs.items.size());
  SafetensorsFile file(folder / "model.safetensors");
  for (const auto& item : theirs.items) {
    EXPECT_EQ(file.get(item.name).shape, item.shape) << item.name;
    EXPECT_EQ(ours.of(item.name), theirs.of(item.name)) << item.name;
  }
  EXPECT_EQ(read_bytes(folder / "config.json"),
            model_config_json(model.tower.config(), "BridgeTowerForImageAndTextRetrieval"));
}

TEST(BridgeTowerHfExport, OmitsATiedDecoder) {
  TempFolder parent;
  for (const Path& source : {kTiny, kOwnDecoder}) {
    Path folder = parent / source.filename().string();
    Model model(source, {.mlm = true}), again(source, {.mlm = true});
    model.load(source);
    export_model(folder, model.tower.config(), "BridgeTowerForMaskedLM", model.store, model.values(), {});
    EXPECT_EQ(bool(HfTensors(folder).find(kDecoder)), source == kOwnDecoder);
    EXPECT_EQ(config_of(folder).text.tie_word_embeddings, source == kTiny);
    again.load(folder);
    again.expect_equal(model, "nothing");
  }
}

}  // namespace
}  // namespace viaduct
