// The weights of Hugging Face model folders: what is read, what is refused and how, and that an export is read back to
// the same bits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "models/hf_config.hpp"
#include "models/hf_export.hpp"
#include "models/hf_weights.hpp"
#include "models/vit_classifier.hpp"
#include "tests/models/tensors.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/temp_folder.hpp"

namespace viaduct {
namespace {

namespace fs = std::filesystem;
using test::Log;
using test::message_of;
using test::read_bytes;
using test::TempFolder;
using test::Tensors;
using test::write_bytes;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const Path kTiny = "tests/golden/vit_tiny", kTokens26 = "tests/golden/vit_tokens26";
const char* const kClassifier = "ViTForImageClassification";

struct Model {
  explicit Model(const VitConfig& config, DType dtype = DType::f32) : vit(config, {}), store(vit.parameters()) {
    store.materialize(Device::cpu(), dtype, false);
  }
  explicit Model(const Path& folder) : Model(viaduct::vit(read_model_config(folder))) {}
  std::vector<float> values(const std::string& name) { return test::values(store, name); }
  VitClassifier vit;
  ParameterStore& store;
};

std::vector<float> tensor_of(const Path& file, const std::string& name) {
  SafetensorsFile f(file);
  std::vector<float> out(size_t(f.get(name).numel()));
  f.read(f.get(name), out.data());
  return out;
}

void write_model(const Path& folder, const Tensors& tensors) {
  fs::copy_file(kTiny / "config.json", folder / "config.json", fs::copy_options::overwrite_existing);
  tensors.write(folder);
}

TEST(HfWeights, JoinsQueryKeyAndValue) {
  Model model(kTiny);
  LoadedWeights loaded = load_weights(kTiny, model.vit.config(), model.store, 1);
  EXPECT_TRUE(loaded.new_heads.empty());
  EXPECT_FALSE(loaded.interpolated_positions);
  EXPECT_TRUE(loaded.ignored.empty());
  std::string at = "vit.encoder.layer.1.attention.attention.";
  for (const char* kind : {".weight", ".bias"}) {
    std::vector<float> joined;
    for (const char* part : {"query", "key", "value"})
      for (float v : tensor_of(kTiny / "model.safetensors", at + part + kind)) joined.push_back(v);
    EXPECT_EQ(model.values(at + "qkv" + kind), joined);
  }
  for (const char* name : {"vit.embeddings.cls_token", "vit.embeddings.position_embeddings", "classifier.weight",
                           "vit.embeddings.patch_embeddings.projection.weight", "vit.layernorm.bias"})
    EXPECT_EQ(model.values(name), tensor_of(kTiny / "model.safetensors", name)) << name;
}

TEST(HfWeights, NamesUpToTenOfTheTensorsThatDoNotFit) {
  Log log;
  TempFolder folder;
  Tensors tensors(kTiny);
  tensors.drop("layer.1.");  // 16 tensors
  for (auto& item : tensors.items)
    if (item.name == "vit.layernorm.weight") item.shape = {4, 8};
  write_model(folder.path(), tensors);
  Model model(kTiny);
  std::string message = message_of([&] { load_weights(folder.path(), model.vit.config(), model.store, 1); });
  EXPECT_THAT(message,
              AllOf(HasSubstr((folder / "model.safetensors").string()), HasSubstr("and 7 more"),
                    HasSubstr("vit.encoder.layer.1.attention.attention.query.weight: expected [32, 32], found no")));
  tensors = Tensors(kTiny);
  for (auto& item : tensors.items)
    if (item.name == "vit.layernorm.weight") item.shape = {4, 8};
  write_model(folder.path(), tensors);
  EXPECT_THAT(message_of([&] { load_weights(folder.path(), model.vit.config(), model.store, 1); }),
              HasSubstr("vit.layernorm.weight: expected [32], found [4, 8]"));
}

TEST(HfWeights, RefusesValuesThatAreNotFinite) {
  TempFolder folder;
  Tensors tensors(kTiny);
  tensors.of("vit.layernorm.bias")[5] = NAN;
  write_model(folder.path(), tensors);
  Model model(kTiny);
  EXPECT_THAT(message_of([&] { load_weights(folder.path(), model.vit.config(), model.store, 1); }),
              HasSubstr("'vit.layernorm.bias': expected finite values, found nan at element 5"));
}

TEST(HfWeights, ToleratesTensorsThatTheModelDoesNotHave) {
  Log log;
  TempFolder folder;
  Tensors tensors(kTiny);
  tensors.add("vit.pooler.dense.weight", {32, 32}, 32 * 32);
  write_model(folder.path(), tensors);
  Model model(kTiny);
  EXPECT_THAT(load_weights(folder.path(), model.vit.config(), model.store, 1).ignored,
              ElementsAre("vit.pooler.dense.weight"));
  EXPECT_THAT(log.text, HasSubstr("1 tensors of the checkpoint that this model does not have are ignored: vit.pooler"));
}

TEST(HfWeights, ReadsABareViTModelAndMakesTheClassifier) {
  Log log;
  TempFolder folder;
  Tensors tensors(kTiny);
  tensors.drop("classifier");
  tensors.strip("vit.");
  write_model(folder.path(), tensors);
  Model model(kTiny), reference(kTiny);
  EXPECT_THAT(load_weights(folder.path(), model.vit.config(), model.store, 1).new_heads, ElementsAre("classifier"));
  EXPECT_THAT(log.text,
              HasSubstr("classifier is initialised anew (classifier.weight: expected [5, 32], found no such tensor)"));
  load_weights(kTiny, reference.vit.config(), reference.store, 1);
  for (const Parameter& p : model.store.parameters())
    if (!p.name.starts_with("classifier")) {
      EXPECT_EQ(model.values(p.name), reference.values(p.name)) << p.name;
    }
}

TEST(HfWeights, AnotherNumberOfClassesMakesANewClassifier) {
  Log log;
  VitConfig config = vit(read_model_config(kTiny));
  config.labels = {"a", "b", "c"};
  Model model(config), fresh(config);
  EXPECT_THAT(load_weights(kTiny, config, model.store, 9).new_heads, ElementsAre("classifier"));
  EXPECT_THAT(log.text, HasSubstr("(classifier.weight: expected [3, 32], found [5, 32])"));
  fresh.store.initialize(9);
  EXPECT_EQ(model.values("classifier.weight"), fresh.values("classifier.weight"));
  EXPECT_EQ(model.values("classifier.bias"), std::vector<float>(3, 0.0f));
}

TEST(HfWeights, KeepsUnroundedValuesForTheOptimizer) {
  VitConfig config = vit(read_model_config(kTiny));
  Model full(config), half(config, DType::bf16);
  load_weights(kTiny, config, full.store, 1);
  int64_t middle = full.store.size() / 3;
  for (Range owned : {full.store.range(), Range{middle, middle + 5000}, Range{70, 71}}) {
    Buffer buffer(Device::cpu(), owned.size() * 4);
    Tensor master = buffer.view(0, {owned.size()}, DType::f32);
    load_weights(kTiny, config, half.store, 1, {{owned, master}});
    EXPECT_EQ(std::memcmp(master.data, full.store.values(owned).data, size_t(master.bytes())), 0);
  }
  std::vector<float> exact = full.values("vit.layernorm.weight"), rounded = half.values("vit.layernorm.weight");
  for (size_t i = 0; i < exact.size(); ++i) EXPECT_EQ(rounded[i], float(bf16(exact[i])));
  EXPECT_NE(exact, rounded);
}

TEST(HfWeights, InterpolatesPositionsAsTorchDoes) {
  EXPECT_EQ(interpolate_positions({9, 1, 2, 4, -8}, 2, 2, 1), (std::vector<float>{9, 1, 2, 4, -8}));
  // torch.nn.functional.interpolate(.., mode="bicubic", align_corners=False)
  const std::vector<float> larger = {9,      0.55482030f,  1.80381978f, 3.05281949f,  2.97743130f,
                                     -0.25f, -3.47742963f, 5.40004158f, -2.30381894f, -10.00767612f};
  const std::vector<float> smaller = {9,           -2.26271462f, 1.04517519f, 4.55243778f, -0.31076419f,
                                      2.36230469f, -1.78313087f, 1.64118755f, 2.60282898f, 1.71696246f};
  std::vector<float> out = interpolate_positions({9, 1, 2, 4, -8}, 2, 3, 1);
  ASSERT_EQ(out.size(), larger.size());
  for (size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], larger[i], 1e-5) << i;
  std::vector<float> rows = {9};
  for (int i = 0; i < 16; ++i) rows.push_back(float(i * 7 % 11 - 4));
  out = interpolate_positions(rows, 4, 3, 1);
  ASSERT_EQ(out.size(), smaller.size());
  for (size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], smaller[i], 1e-5) << i;

  Log log;
  VitConfig config = vit(read_model_config(kTiny));
  config.image_size = 48;
  Model model(config);
  EXPECT_TRUE(load_weights(kTiny, config, model.store, 1).interpolated_positions);
  EXPECT_THAT(log.text, HasSubstr("interpolated from 4 x 4 to 6 x 6 patches"));
  EXPECT_EQ(
      model.values("vit.embeddings.position_embeddings"),
      interpolate_positions(tensor_of(kTiny / "model.safetensors", "vit.embeddings.position_embeddings"), 4, 6, 32));
  config.patch_size = 16;  // other weights, not only another number of positions
  Model other(config);
  EXPECT_THAT(message_of([&] { load_weights(kTiny, config, other.store, 1); }), HasSubstr("projection.weight"));
}

struct Shards : TempFolder {
  Shards() {
    fs::copy_file(kTiny / "config.json", *this / "config.json");
    map = tensors.write_shards(path());
  }
  void write_index(const std::string& entries) const { Tensors::write_index(path(), entries); }
  Tensors tensors{kTiny};
  std::string map;
};

TEST(HfWeights, ReadsShards) {
  Shards folder;
  Model model(folder.path()), reference(kTiny);
  load_weights(folder.path(), model.vit.config(), model.store, 1);
  load_weights(kTiny, reference.vit.config(), reference.store, 1);
  EXPECT_EQ(std::memcmp(model.store.values().data, reference.store.values().data, size_t(model.store.values().bytes())),
            0);
}

TEST(HfWeights, RefusesAnIndexThatLeavesTheFolderOrLies) {
  Shards folder;
  auto refusal = [&] { return message_of([&] { HfTensors tensors(folder.path()); }); };
  for (const char* name :
       {"../one.safetensors", "/etc/one.safetensors", "a\\\\b.safetensors", "one\\u0000.safetensors", "one.bin", ""}) {
    folder.write_index(fmt::format("\"a\":\"{}\"", name));
    EXPECT_THAT(refusal(), HasSubstr("in the same folder")) << name;
  }
  folder.write_index("\"a\":5");
  EXPECT_THAT(refusal(), HasSubstr("expected a file name for 'a'"));
  folder.write_index("");
  EXPECT_THAT(refusal(), HasSubstr("weight_map"));
  folder.write_index(R"("a":"three.safetensors")");
  EXPECT_THAT(refusal(), HasSubstr("three.safetensors: there is no such file"));
  folder.write_index(folder.map + R"(,"lost":"two.safetensors")");
  EXPECT_THAT(refusal(), HasSubstr("two.safetensors: expected tensor 'lost'"));
  folder.write_index(folder.map);
  fs::copy_file(folder / "one.safetensors", folder / "two.safetensors", fs::copy_options::overwrite_existing);
  EXPECT_THAT(refusal(), testing::AnyOf(HasSubstr("is in two shards"), HasSubstr("expected tensor")));
}

TEST(HfExport, IsReadBackToTheSameBits) {
  TempFolder parent;
  Path folder = parent / "model";
  Model model(kTokens26);
  load_weights(kTokens26, model.vit.config(), model.store, 1);
  Range all = model.store.range();
  auto save = [&] {
    export_model(folder, model.vit.config(), kClassifier, model.store,
                 [&](const Parameter& p) {
                   return values_of({{all, model.store.values(all)}}, p);
                 },
                 {{"preprocessor_config.json", "{}"}});
  };
  save();
  save();  // over the older version
  EXPECT_EQ(read_bytes(folder / "preprocessor_config.json"), "{}");
  SafetensorsFile ours(folder / "model.safetensors"), theirs(kTokens26 / "model.safetensors");
  EXPECT_EQ(ours.metadata().at("format"), "pt");
  ASSERT_EQ(ours.tensors().size(), theirs.tensors().size());
  for (const SafetensorsEntry& t : theirs.tensors()) {
    EXPECT_EQ(ours.get(t.name).shape, t.shape) << t.name;
    EXPECT_EQ(tensor_of(ours.path(), t.name), tensor_of(theirs.path(), t.name)) << t.name;
  }
  EXPECT_EQ(read_bytes(folder / "config.json"), model_config_json(read_model_config(kTokens26), kClassifier));
  EXPECT_EQ(std::distance(fs::directory_iterator(parent.path()), fs::directory_iterator()), 1)
      << "nothing is left over";

  write_bytes(folder / "holiday.jpg", "precious");
  EXPECT_THAT(message_of(save, Exit::config), HasSubstr("holiday.jpg"));
  EXPECT_EQ(read_bytes(folder / "holiday.jpg"), "precious");
  EXPECT_EQ(std::distance(fs::directory_iterator(parent.path()), fs::directory_iterator()), 1);
}

}  // namespace
}  // namespace viaduct
