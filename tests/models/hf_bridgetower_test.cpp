// BridgeTower in Hugging Face's folders: configurations that transformers wrote, and the tensors of its
// classes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "core/base/json.hpp"
#include "models/bridgetower.hpp"
#include "models/hf_config.hpp"
#include "models/hf_layout.hpp"
#include "models/safetensors.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/source_path.hpp"

namespace viaduct {
namespace {

using test::message_of;
using testing::AllOf;
using testing::HasSubstr;

const Path kGolden = test::source_path("tests/golden");
const Path kTiny = kGolden / "bridgetower_tiny";             // all heads in the file, decoder tied
const Path kScaledAdd = kGolden / "bridgetower_scaled_add";  // a decoder of its own
const char* const kItm = "BridgeTowerForImageAndTextRetrieval";
const char* const kMlm = "BridgeTowerForMaskedLM";

BridgeTowerConfig config_of(const Path& folder) { return bridgetower(read_model_config(folder)); }
ModelConfig parse(const std::string& fields) {
  return parse_model_config(R"({"model_type":"bridgetower")" + fields + "}", "config.json");
}

TEST(BridgeTowerHfConfig, ReadsWhatTransformersWrote) {
  BridgeTowerConfig c = config_of(kScaledAdd);
  EXPECT_EQ(c.hidden_size, 30);
  EXPECT_EQ(c.num_hidden_layers, 2);
  EXPECT_EQ(c.hidden_act, "gelu_new");
  EXPECT_EQ(c.layer_norm_eps, 1e-3);
  EXPECT_EQ(c.link_tower_type, "scaled_add");
  EXPECT_EQ(c.contrastive_hidden_size, 20);
  EXPECT_EQ(c.text.vocab_size, 99);
  EXPECT_EQ(c.text.num_attention_heads, 3);
  EXPECT_EQ(c.text.hidden_act, "relu");
  EXPECT_EQ(c.text.hidden_dropout_prob, 0);
  EXPECT_EQ(c.text.pad_token_id, 1) << "not in the file: the class default";
  EXPECT_FALSE(c.text.tie_word_embeddings);
  EXPECT_TRUE(config_of(kTiny).text.tie_word_embeddings) << "absent in the text's object, false at the top level";
  EXPECT_EQ(c.vision.image_size, 24);
  EXPECT_EQ(c.vision.layer_norm_eps, 1e-4);
}

TEST(BridgeTowerHfConfig, OmittedFieldsTakeTheClassDefaults) {
  auto layout = read_json_object(kGolden / "bridgetower_layout.json");
  std::string written = model_config_json(parse_model_config(layout["base"]["config"].dump(), "base"), kItm);
  for (const char* fields : {"", R"(,"text_config":null,"vision_config":{},"head_hidden_scale":2,"drop_rate":0.1)"})
    EXPECT_EQ(model_config_json(parse(fields), kItm), written) << fields;
}

// Every value that transformers writes is in ours too, but for what has no effect there.
TEST(BridgeTowerHfConfig, WritesWhatTransformersWrites) {
  const std::set<std::string> without_effect = {"/num_attention_heads", "/tie_word_embeddings", "/transformers_version",
                                                "/text_config/use_cache"};
  for (const char* name : {"tiny", "scaled_add", "interpolate", "single"}) {
    auto theirs = read_json_object(kGolden / (std::string("bridgetower_") + name) / "config.json");
    std::string text = model_config_json(parse_model_config(theirs.dump(), name), kItm);
    auto ours = parse_json_object(text, name);
    auto wanted = theirs.flatten(), written = ours.flatten();
    for (auto& [key, value] : wanted.items()) {
      if (!without_effect.contains(key)) {
        EXPECT_TRUE(written.contains(key) && written[key] == value) << name << " " << key;
      }
    }
    EXPECT_EQ(ours["architectures"][0], kItm);
    EXPECT_EQ(ours["tie_word_embeddings"], ours["text_config"]["tie_word_embeddings"]);
    EXPECT_EQ(model_config_json(parse_model_config(text, name), kItm), text);
  }
}

TEST(BridgeTowerHfConfig, RefusesWhatItCannotHonour) {
  const std::pair<const char*, const char*> cases[] = {
      {R"(,"share_cross_modal_transformer_layers":false)", "share_cross_modal_transformer_layers: expected true"},
      {R"(,"share_link_tower_layers":true)", "share_link_tower_layers: expected false; true is not supported"},
      {R"(,"init_layernorm_from_vision_encoder":true)", "init_layernorm_from_vision_encoder: expected false"},
      {R"(,"vision_config":{"share_layernorm":false})", "vision_config: share_layernorm: expected true"},
      {R"(,"vision_config":{"remove_last_layer":true})", "vision_config: remove_last_layer: expected false"},
      {R"(,"vision_config":{"stop_gradient":true})", "vision_config: stop_gradient: expected false"},
      {R"(,"text_config":{"is_decoder":true})", "text_config: is_decoder: expected false"},
      {R"(,"text_config":{"add_cross_attention":true})", "text_config: add_cross_attention: expected false"},
      {R"(,"text_config":{"position_embedding_type":"relative_key"})", "expected absolute; relative_key"},
      {R"(,"text_config":{"hidden_act":"silu"})", "silu"},
      {R"(,"text_config":{"vocab_size":"many"})", "text_config: vocab_size: expected a whole number, found \"many\""},
      {R"(,"text_config":[])", "text_config: expected an object"},
      {R"(,"text_config":{"max_position_embeddings":65537})",
       "max_position_embeddings: expected a number from 4 to 65536, found 65537"},
      {R"(,"text_config":{"pad_token_id":50265})", "pad_token_id: expected a number from 0 to 50264, found 50265"},
      {R"(,"text_config":{"pad_token_id":-1})", "pad_token_id: expected a number from 0"},
      {R"(,"text_config":{"pad_token_id":512})", "max_position_embeddings: expected at least 515 (pad_token_id = 512"},
      {R"(,"link_tower_type":"gate")", "gate"},
      {R"(,"hidden_size":512)", "hidden_size"},
  };
  for (const auto& [fields, message] : cases)
    EXPECT_THAT(message_of([&, fields = fields] { parse(fields); }),
                AllOf(HasSubstr("config.json: "), HasSubstr(message)));
}

TEST(BridgeTowerHfConfig, TheLongestTextEndsAtTheLastPosition) {
  auto longest = [](const char* text) { return bridgetower(parse(text)).longest_text(); };
  EXPECT_EQ(longest(""), 512);
  EXPECT_EQ(longest(R"(,"text_config":{"pad_token_id":0})"), 513);
  EXPECT_EQ(longest(R"(,"text_config":{"pad_token_id":511})"), 2);
  EXPECT_EQ(longest(R"(,"text_config":{"pad_token_id":0,"max_position_embeddings":65536})"), 65535);
}

// The tensors of a store as bridgetower_layout.py counts them: "name with * for the layer [shape]" -> how many.
std::map<std::string, int> folded_tensors(const ParameterStore& store, const ModelConfig& config) {
  std::map<std::string, std::set<std::string>> layers;
  for (const Parameter& p : store.parameters())
    for (HfTensor t : hf_tensors(p, config)) {
      std::string layer;
      size_t begin = t.name.find_first_of("0123456789"), dot = t.name.find('.', begin);
      if (begin != t.name.npos && t.name[begin - 1] == '.' && dot != t.name.npos)
        layer = t.name.substr(begin, dot - begin), t.name.replace(begin, dot - begin, "*");
      EXPECT_TRUE(layers[t.name + " " + to_string(t.shape)].insert(layer).second) << t.name << " twice";
    }
  std::map<std::string, int> count;
  for (const auto& [name, found] : layers) {
    count[name] = int(found.size());
    if (name.find('*') != name.npos) {
      for (size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(found.contains(std::to_string(i))) << name << " " << i;
    }
  }
  return count;
}

TEST(BridgeTowerHfLayout, IsThatOfTransformers) {
  const std::pair<const char*, BridgeTowerParts> classes[] = {{kItm, {.itm = true}},
                                                              {"BridgeTowerForContrastiveLearning", {.itc = true}},
                                                              {kMlm, {.mlm = true}},
                                                              {"BridgeTowerForMaskedLM untied", {.mlm = true}},
                                                              {"BridgeTowerModel", {}}};
  auto layout = read_json_object(kGolden / "bridgetower_layout.json");
  for (const char* shape : {"base", "large"})
    for (const auto& [name, parts] : classes) {
      SCOPED_TRACE(fmt::format("{} {}", shape, name));
      BridgeTowerConfig config = bridgetower(parse_model_config(layout[shape]["config"].dump(), shape));
      config.text.tie_word_embeddings = std::string(name).find("untied") == std::string::npos;
      BridgeTower model(config, {}, parts);
      model.parameters().materialize(Device::meta(), DType::f32, false);
      std::map<std::string, int> wanted;
      for (const auto& part : {layout[shape]["body"], layout[shape]["heads"][name]})
        for (auto& [tensor, layers] : part.items()) wanted[tensor] = layers.get<int>();
      EXPECT_EQ(folded_tensors(model.parameters(), config), wanted);
      EXPECT_EQ(model.parameters().count(), layout[shape]["parameters"][name].get<int64_t>());
    }
}

}  // namespace
}  // namespace viaduct
