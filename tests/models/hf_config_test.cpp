// config.json and the folder it lies in: what is read, what is refused and how, and that what is written is read back.
#include "models/hf_config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/messages.hpp"
#include "tests/support/temp_folder.hpp"

namespace viaduct {
namespace {

using test::message_of;
using test::TempFolder;
using test::write_bytes;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const Path kTokens26 = "tests/golden/vit_tokens26";

VitConfig vit_of(const Path& folder) { return vit(read_model_config(folder)); }

void write_config(const TempFolder& folder, const std::string& json) { write_bytes(folder / "config.json", json); }

TEST(HfConfig, ReadsEveryFieldThatChangesTheMaths) {
  VitConfig c = vit_of(kTokens26);
  EXPECT_EQ(c.hidden_size, 48);
  EXPECT_EQ(c.num_hidden_layers, 2);
  EXPECT_EQ(c.num_attention_heads, 3);
  EXPECT_EQ(c.intermediate_size, 80);
  EXPECT_EQ(c.image_size, 40);
  EXPECT_EQ(c.patch_size, 8);
  EXPECT_EQ(c.hidden_act, "gelu_new");
  EXPECT_EQ(c.layer_norm_eps, 1e-12);
  EXPECT_FALSE(c.qkv_bias);
  ASSERT_EQ(c.classes(), 7);
  EXPECT_EQ(c.labels[6], "class 6");
}

TEST(HfConfig, OmittedFieldsTakeTheClassDefaults) {
  TempFolder folder;
  write_config(folder, R"({"model_type":"vit","hidden_dropout_prob":0.1,"num_hidden_layers":3,"qkv_bias":null})");
  VitConfig c = vit_of(folder.path());
  EXPECT_EQ(c.hidden_size, 768);
  EXPECT_EQ(c.num_hidden_layers, 3);
  EXPECT_EQ(c.hidden_dropout_prob, 0.1);
  EXPECT_TRUE(c.qkv_bias);
  EXPECT_THAT(c.labels, ElementsAre("LABEL_0", "LABEL_1"));
}

TEST(HfConfig, RefusesWhatItCannotHonour) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"model_type":"clip"})", "expected model_type = \"vit\", \"deit\" or \"bridgetower\", found \"clip\""},
      {R"({"hidden_size":768})", "no model_type"},
      {R"({"model_type":"vit","hidden_size":"768"})", "hidden_size: expected a whole number, found \"768\""},
      {R"({"model_type":"vit","hidden_size":768.5})", "hidden_size: expected a whole number, found 768.5"},
      {R"({"model_type":"vit","hidden_size":18446744073709551615})", "hidden_size: expected a whole number"},
      {R"({"model_type":"vit","hidden_size":-768})", "hidden_size: expected"},
      {R"({"model_type":"vit","num_attention_heads":5})", "expected a multiple of num_attention_heads"},
      {R"({"model_type":"vit","hidden_act":"swish"})", "found 'swish'"},
      {R"({"model_type":"vit","image_size":[224,224]})", "image_size: expected a whole number, found [224,224]"},
      {R"({"model_type":"vit","num_channels":1})", "expected 3 (RGB), found 1"},
      {R"({"model_type":"vit","problem_type":"regression"})", "single_label_classification, found regression"},
      {R"({"model_type":"vit","id2label":{"0":"a","2":"b"}})", "found none for 1"},
      {R"({"model_type":"vit","id2label":{}})", "id2label: expected an object"},
      {R"({"model_type":"vit","num_labels":1e9})", "num_labels: expected a whole number"},
      {R"({"model_type":"vit",)", "expected JSON"},
      {R"(["vit"])", "expected a JSON object"},
      {"", "expected JSON"},
  };
  TempFolder folder;
  for (const auto& [json, message] : cases) {
    write_config(folder, json);
    EXPECT_THAT(message_of([&] { read_model_config(folder.path()); }),
                AllOf(HasSubstr((folder / "config.json").string()), HasSubstr(message)))
        << json;
  }
  write_config(folder, std::string(100'000, '['));
  EXPECT_THAT(message_of([&] { read_model_config(folder.path()); }), HasSubstr("levels"));
}

TEST(HfConfig, WritesWhatItReads) {
  TempFolder folder;
  VitConfig c = vit_of(kTokens26);
  c.labels = {"tench", "goldfish, \"Carassius auratus\"", "żółw"};
  c.hidden_dropout_prob = 0.1;
  std::string json = model_config_json(c, "ViTForImageClassification");
  write_config(folder, json);
  ModelConfig again = read_model_config(folder.path());
  EXPECT_EQ(model_config_json(again, "ViTForImageClassification"), json);
  EXPECT_EQ(vit(again).labels, c.labels);
  EXPECT_THAT(json, HasSubstr("\"model_type\": \"vit\""));
  EXPECT_EQ(parse_architecture(json, "config.json"), "ViTForImageClassification");
}

TEST(HfFolder, SaysTheCommandThatHelps) {
  EXPECT_THAT(message_of([] { find_model_folder("google/vit-base-patch16-224"); }, Exit::config),
              HasSubstr("\n  hf download google/vit-base-patch16-224 --local-dir google/vit-base-patch16-224"));
  EXPECT_THAT(message_of([] { find_model_folder("./no/such/folder"); }, Exit::config),
              AllOf(HasSubstr("there is no folder './no/such/folder'"), testing::Not(HasSubstr("hf download"))));
  TempFolder folder;
  std::string name = folder.path().string();
  EXPECT_THAT(message_of([&] { find_model_folder(name); }), HasSubstr("found no config.json"));
  write_config(folder, "{}");
  EXPECT_THAT(message_of([&] { find_model_folder(name); }), HasSubstr("found neither"));
  write_bytes(folder / "pytorch_model.bin", "x");
  EXPECT_THAT(message_of([&] { find_model_folder(name); }), HasSubstr("\n  python3 launch/to_safetensors.py " + name));
  write_bytes(folder / "model.safetensors", "x");
  EXPECT_EQ(find_model_folder(name), folder.path());
  EXPECT_THAT(message_of([&] { find_model_folder(name + "/config.json"); }, Exit::config), HasSubstr("the file"));
}

}  // namespace
}  // namespace viaduct
