// What a user is told about the files of a tokenizer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "data/tokenizer.hpp"
#include "data/word_vocabulary.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/source_path.hpp"
#include "tests/support/temp_folder.hpp"

namespace viaduct::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using Files = std::map<std::string, std::string>;

std::string load_error(const Files& files) {
  TempFolder folder;
  for (const auto& [name, text] : files) write_bytes(folder / name, text);
  return message_of([&] { Tokenizer::load(folder.path()); });
}

// The files of a good tokenizer, with one file changed.
std::string error_with(const std::string& name, const std::string& text) {
  Files files = word_vocabulary({"cat"});
  files[name] = text;
  return load_error(files);
}

std::string error_with_vocabulary(const std::function<void(json&)>& change) {
  json vocabulary = json::parse(word_vocabulary({"cat"}).at("vocab.json"));
  change(vocabulary);
  return error_with("vocab.json", vocabulary.dump());
}

std::string error_with_document(const std::function<void(json&)>& change) {
  json document = json::parse(read_bytes(source_path("tests/golden/tokenizer/fast/tokenizer.json")));
  change(document);
  return load_error({{"tokenizer.json", document.dump()}});
}

TEST(TokenizerErrors, FilesThatLack) {
  EXPECT_EQ(load_error(word_vocabulary({"cat"})), "no error");
  EXPECT_EQ(error_with_document([](json&) {}), "no error");
  EXPECT_THAT(load_error({}), HasSubstr("expected a tokenizer: vocab.json and merges.txt, or tokenizer.json"));
  EXPECT_THAT(load_error({{"vocab.json", "{}"}}), HasSubstr("expected a tokenizer"));
}

TEST(TokenizerErrors, Vocabulary) {
  EXPECT_THAT(error_with("vocab.json", ""), HasSubstr("vocab.json: expected JSON, found something else at byte 1"));
  EXPECT_THAT(error_with("vocab.json", "{\"a\": 1,, }"), HasSubstr("at byte 9"));
  EXPECT_THAT(error_with("vocab.json", "[1]"), HasSubstr("expected a JSON object"));
  EXPECT_THAT(error_with("vocab.json", "{}"), HasSubstr("vocab.json: the vocabulary is empty"));
  for (const char* id : {"-1", "1.5", "\"7\"", "16777216", "18446744073709551615", "null", "[]"})
    EXPECT_THAT(error_with_vocabulary([&](json& v) { v["cat"] = json::parse(id); }),
                HasSubstr("vocab.json: \"cat\": expected an id from 0 to 16777215, found"));
  EXPECT_THAT(error_with_vocabulary([](json& v) { v["cat"] = v["ca"]; }), HasSubstr("\"ca\" and \"cat\" both have id"));
  for (const char* special : {"<s>", "<pad>", "</s>", "<unk>", "<mask>"})
    EXPECT_THAT(error_with_vocabulary([&](json& v) { v.erase(special); }), HasSubstr(fmt::format("lacks {}", special)));
}

TEST(TokenizerErrors, Merges) {
  const std::string head = "#version: 0.2\n";
  EXPECT_THAT(error_with("merges.txt", ""), HasSubstr("merges.txt:1: expected \"#version: 0.2\", found \"\""));
  EXPECT_THAT(error_with("merges.txt", "c a\n"), HasSubstr("merges.txt:1: expected \"#version: 0.2\", found \"c a\""));
  EXPECT_THAT(error_with("merges.txt", head + "c a"), HasSubstr("ends in the middle of a line"));
  for (const char* line : {"", "c", "c ", " a", "c  a", "c a t", " "})
    EXPECT_THAT(
        error_with("merges.txt", head + "c a\n" + line + "\nca t\n"),
        HasSubstr(fmt::format("merges.txt:3: expected two symbols with a blank between them, found \"{}\"", line)));
  EXPECT_THAT(error_with("merges.txt", head + "c xy\n"),
              HasSubstr("merges.txt:2: the merge of \"c\" and \"xy\" needs \"xy\", which is not in the vocabulary"));
  EXPECT_THAT(error_with("merges.txt", head + "x y\n"), HasSubstr("needs \"xy\""));
  EXPECT_THAT(error_with("merges.txt", head + "\xFF\x01 y z" + std::string(100, 'a') + "\n"), HasSubstr("..."));
  EXPECT_EQ(error_with("merges.txt", "#version: 0.2\r\nc a\r\nca t\r\n"), "no error");
}

TEST(TokenizerErrors, TokenizerJsonOfAnotherKind) {
  auto set = [](const char* pointer, json value) {
    return error_with_document([&](json& d) { d[json::json_pointer(pointer)] = value; });
  };
  EXPECT_THAT(set("/model/type", "WordPiece"), HasSubstr("tokenizer.json: model: expected BPE, found \"WordPiece\""));
  EXPECT_THAT(set("/normalizer", {{"type", "NFC"}}), HasSubstr("normalizer: expected none, found"));
  EXPECT_THAT(set("/pre_tokenizer/type", "Metaspace"),
              HasSubstr("pre_tokenizer: expected ByteLevel, found \"Metaspace\""));
  EXPECT_THAT(set("/pre_tokenizer/add_prefix_space", true), HasSubstr("add_prefix_space false"));
  EXPECT_THAT(set("/pre_tokenizer", nullptr), HasSubstr("expected ByteLevel, found \"none\""));
  EXPECT_THAT(set("/post_processor/type", "TemplateProcessing"), HasSubstr("expected RobertaProcessing"));
  EXPECT_THAT(set("/post_processor/sep", {"</s>", 5}), HasSubstr("post_processor: sep: expected [\"</s>\", 2]"));
  EXPECT_THAT(set("/model/byte_fallback", true), HasSubstr("model: byte_fallback: expected none, found \"true\""));
  EXPECT_THAT(set("/model/end_of_word_suffix", "</w>"), HasSubstr("end_of_word_suffix"));
  EXPECT_THAT(set("/model/dropout", 0.1), HasSubstr("dropout"));
  EXPECT_THAT(set("/model/unk_token", "[UNK]"), HasSubstr("unk_token \"[UNK]\" is not in the vocabulary"));
  EXPECT_THAT(set("/model/vocab", json::array()), HasSubstr("expected an object \"vocab\""));
  EXPECT_THAT(set("/model/merges", 1), HasSubstr("expected a list \"merges\""));
  EXPECT_THAT(set("/model/merges/3", {"a", 1}), HasSubstr("model: merges[3]: expected two symbols, found"));
  EXPECT_THAT(set("/model/merges/3", "a b c"), HasSubstr("merges[3]: expected two symbols, found"));
  EXPECT_THAT(set("/model/merges/3", {"qq", "zz"}),
              HasSubstr("merges[3]: the merge of \"qq\" and \"zz\" needs \"qq\""));
  EXPECT_THAT(set("/added_tokens", nullptr), HasSubstr("expected a list \"added_tokens\""));
  EXPECT_THAT(set("/added_tokens/5/single_word", true), HasSubstr("added_tokens[5]: single_word: expected false"));
  EXPECT_THAT(set("/added_tokens/5/id", 3), HasSubstr("\"<unk>\" and \"<cap>\" both have id 3"));
  EXPECT_THAT(set("/added_tokens/5/id", "x"), HasSubstr("added_tokens[5]: id: expected a whole number"));
  EXPECT_THAT(set("/added_tokens/5/content", ""), HasSubstr("expected a \"content\" that is not empty"));
  EXPECT_THAT(set("/added_tokens/0/id", 9), HasSubstr("\"<s>\" has id 9 here and 0 in the vocabulary"));
}

TEST(TokenizerErrors, AddedTokensThatCannotBePlaced) {
  auto with = [](const char* token, const std::vector<int64_t>& ids) {
    return error_with_document([&](json& d) {
      for (int64_t id : ids) d["added_tokens"].push_back({{"content", token}, {"id", id}, {"special", true}});
    });
  };
  EXPECT_EQ(with("<new>", {999}), "no error");
  EXPECT_THAT(with("<new>", {2'000'000'000, 999}),
              HasSubstr("added_tokens[8]: \"<new>\" is there already; expected each added token once"));
  EXPECT_THAT(with("<new>", {999, 999}), HasSubstr("\"<new>\" is there already"));
  EXPECT_THAT(with("<s>", {0}), HasSubstr("\"<s>\" is there already"));
  for (int64_t id : {-1L, 1L << 24, 2'000'000'000L, (1L << 32) + 999, INT64_MAX})
    EXPECT_THAT(with("<new>", {id}), HasSubstr("\"<new>\": expected an id from 0 to 16777215, found"));
}

TEST(TokenizerErrors, ConfigOfAnotherTokenizer) {
  auto with = [](const char* name, const json& object) { return error_with(name, object.dump()); };
  EXPECT_THAT(with("tokenizer_config.json", {{"tokenizer_class", "BertTokenizer"}}),
              HasSubstr("tokenizer_config.json: tokenizer_class: expected RobertaTokenizer, found \"BertTokenizer\""));
  EXPECT_THAT(with("tokenizer_config.json", {{"add_prefix_space", true}}), HasSubstr("add_prefix_space"));
  EXPECT_THAT(with("tokenizer_config.json", {{"mask_token", "[MASK]"}}),
              HasSubstr("mask_token: expected \"<mask>\", found \"[MASK]\""));
  EXPECT_THAT(with("special_tokens_map.json", {{"pad_token", {{"content", "<p>"}}}}), HasSubstr("found \"<p>\""));
  EXPECT_THAT(with("special_tokens_map.json", {{"pad_token", 7}}), HasSubstr("expected a text or an object"));
  EXPECT_THAT(with("added_tokens.json", {{"<new>", 900}}), HasSubstr("\"<new>\" with id 900 is no added token"));
  EXPECT_EQ(with("added_tokens.json", {{"<s>", 0}}), "no error");
  for (const char* id : {"900", "", "-1", "99999999999999999999", "x"})
    EXPECT_THAT(with("tokenizer_config.json", {{"added_tokens_decoder", {{id, {{"content", "<new>"}}}}}}),
                HasSubstr("is no added token"));
}

}  // namespace
}  // namespace viaduct::test
