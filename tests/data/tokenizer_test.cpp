// Against transformers: tests/golden/tokenizer_golden.py wrote what its tokenizer makes of 10,000 texts.
#include "data/tokenizer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "core/base/hash.hpp"
#include "data/scenes.hpp"
#include "data/word_vocabulary.hpp"
#include "tests/data/image_tools.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/source_path.hpp"
#include "tests/support/temp_folder.hpp"

namespace viaduct::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::ElementsAre;
using testing::ElementsAreArray;
using Ids = std::vector<int32_t>;

fs::path golden(const std::string& name) { return source_path("tests/golden/tokenizer/" + name); }
TokenizerPtr tiny() { return Tokenizer::load(golden("tiny")); }

struct Sample {
  std::string text;
  json expected;
};

const std::vector<Sample>& samples() {
  static const std::vector<Sample> all = [] {
    std::vector<Sample> list;
    std::ifstream in(golden("texts.jsonl"));
    for (std::string line; std::getline(in, line);) {
      json row = json::parse(line);
      std::string unit = row.value("text", ""), text;
      std::string hex = row.value("bytes", "");
      for (size_t i = 0; i < hex.size(); i += 2) unit += char(std::stoi(hex.substr(i, 2), nullptr, 16));
      for (int64_t n = row.value("times", 1); n > 0; --n) text += unit;
      list.push_back({text, row});
    }
    return list;
  }();
  return all;
}

std::string digest(const Ids& ids) {
  return xxh3_hex({reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t)}).substr(0, 8);
}

void expect_golden(const Tokenizer& tokenizer, const char* column) {
  ASSERT_EQ(samples().size(), 10000u);
  int wrong = 0;
  for (const Sample& s : samples()) {
    Ids ids = tokenizer.encode(s.text);
    if (digest(ids) == s.expected.at(column)) continue;
    if (++wrong < 10) ADD_FAILURE() << s.expected.dump().substr(0, 500) << "\n" << testing::PrintToString(ids);
  }
  EXPECT_EQ(wrong, 0);
}

void copy_files(const fs::path& from, const fs::path& to) { fs::copy(from, to, fs::copy_options::overwrite_existing); }

TEST(Tokenizer, GivesTheIdsOfTransformersForRoberta) {
  fs::path folder = photo_folder() / "tokenizer";
  if (photo_folder().empty() || !Tokenizer::is_in(folder))
    GTEST_SKIP() << "no RoBERTa vocabulary: VIADUCT_DATA is not set to the folder that holds tokenizer/";
  auto roberta = Tokenizer::load(folder);
  EXPECT_EQ(roberta->vocab_size(), 50265);
  EXPECT_EQ(roberta->mask(), 50264);
  EXPECT_THAT(roberta->encode("Hello world"), ElementsAre(0, 31414, 232, 2));
  EXPECT_THAT(roberta->encode(" Hello world"), ElementsAre(0, 20920, 232, 2));
  int in_full = 0;
  for (const Sample& s : samples()) {
    if (!s.expected.contains("ids")) continue;
    ++in_full;
    EXPECT_EQ(roberta->encode(s.text), s.expected["ids"].get<Ids>()) << s.expected.dump();
  }
  EXPECT_GT(in_full, 300);
  expect_golden(*roberta, "roberta");
}

TEST(Tokenizer, GivesTheIdsOfTransformersForASmallVocabulary) { expect_golden(*tiny(), "tiny"); }

// tokenizer.json, with added tokens that take blanks on the left, on the right, before and after the special ones.
TEST(Tokenizer, GivesTheIdsOfTransformersFromTokenizerJson) {
  auto fast = Tokenizer::load(golden("fast"));
  EXPECT_EQ(fast->vocab_size(), 702);
  expect_golden(*fast, "fast");
}

TEST(Tokenizer, MergesOfTokenizerJsonMayBeTextsOrPairs) {
  TempFolder folder;
  json document = json::parse(read_bytes(golden("fast/tokenizer.json")));
  auto& merges = document["model"]["merges"];
  ASSERT_TRUE(merges.at(0).is_array());
  for (json& merge : merges) merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  write_bytes(folder / "tokenizer.json", document.dump());
  copy_files(golden("fast/tokenizer_config.json"), folder.path());
  expect_golden(*Tokenizer::load(folder.path()), "fast");
}

// Of added tokens the longest counts, those that are not "normalized" before the others; a token of the vocabulary that
// no merges lead to never comes up. Ids as tokenizers gives them.
TEST(Tokenizer, AddedTokensHaveAnOrder) {
  TempFolder folder;
  json document = json::parse(read_bytes(golden("fast/tokenizer.json")));
  document["model"]["vocab"]["zzzz"] = 700;
  document["added_tokens"][5]["id"] = 701, document["added_tokens"][6]["id"] = 702;
  document["added_tokens"].push_back({{"id", 703}, {"content", "<cap>s"}, {"normalized", true}});
  document["added_tokens"].push_back({{"id", 704}, {"content", "x<note"}, {"normalized", true}});
  write_bytes(folder / "tokenizer.json", document.dump());
  auto tokenizer = Tokenizer::load(folder.path());
  int32_t t = tokenizer->encode("t").at(1), x = tokenizer->encode("x").at(1), z = tokenizer->encode("z").at(1);
  EXPECT_THAT(tokenizer->encode("<cap>s<cap>t"), ElementsAre(0, 703, 701, t, 2));
  EXPECT_THAT(tokenizer->encode("x<note>"), ElementsAre(0, x, 702, 2));
  EXPECT_THAT(tokenizer->encode("x<note"), ElementsAre(0, 704, 2));
  EXPECT_THAT(tokenizer->encode("zzzz"), ElementsAre(0, z, z, z, z, 2));
}

// Flags of tokenizer_config.json's added_tokens_decoder win over the usual ones, as in transformers.
TEST(Tokenizer, FollowsTheConfigsFlags) {
  TempFolder folder;
  for (const char* name : {"tiny/vocab.json", "tiny/merges.txt"}) copy_files(golden(name), folder.path());
  auto ids = [&] { return Tokenizer::load(folder.path())->encode("a  <mask>").size(); };
  EXPECT_EQ(ids(), 4u);
  json mask{{"content", "<mask>"}, {"lstrip", false}, {"normalized", false}};
  write_bytes(folder / "special_tokens_map.json", json{{"mask_token", mask}}.dump());
  EXPECT_EQ(ids(), 6u);
  mask["lstrip"] = true;
  write_bytes(folder / "tokenizer_config.json", json{{"added_tokens_decoder", {{"699", mask}}}}.dump());
  EXPECT_EQ(ids(), 4u);
}

TEST(Tokenizer, TruncationKeepsTheFirstIdsAndTheFrame) {
  auto tokenizer = tiny();
  for (size_t i = 0; i < samples().size(); i += 17) {
    Ids full = tokenizer->encode(samples()[i].text);
    for (int64_t length : {2, 3, 4, 7, 20, 512, 100000}) {
      Ids cut = full;
      if (int64_t(full.size()) > length) cut.resize(size_t(length)), cut.back() = tokenizer->eos();
      EXPECT_EQ(tokenizer->encode(samples()[i].text, length), cut) << samples()[i].expected.dump();
    }
  }
  EXPECT_THAT(tokenizer->encode("a b c", 2), ElementsAre(0, 2));
  for (int64_t length : {1, -1}) {
    std::string message = message_of([&] { tokenizer->encode("a", length); }, Exit::config);
    EXPECT_THAT(message, testing::HasSubstr("at least 2"));
  }
}

// One word of millions of bytes: were merging quadratic or the pattern recursive, this would not end or overflow.
TEST(Tokenizer, TakesVeryLongWords) {
  auto tokenizer = tiny();
  for (const char* unit : {"a", " ", "'", "re", "\xC2\xA0", "\xFF", "<", "1", "<mask"}) {
    std::string text;
    while (text.size() < (2u << 20)) text += unit;
    Ids ids = tokenizer->encode(text);
    EXPECT_GT(ids.size(), text.size() / 16) << unit;
    EXPECT_EQ(tokenizer->encode(text, 10).size(), 10u);
    std::string again = tokenizer->decode(ids);
    EXPECT_TRUE(*unit == '\xFF' || again == text) << unit;
  }
}

TEST(Tokenizer, DecodesWhatItEncoded) {
  auto tokenizer = tiny();
  for (const char* text : {"A dog, a cat.", "  two  blanks ", "naïve 你好 👍🏽", "line\nbreak\ttab", ""})
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("a <mask> b</s>")), "a b");
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("a\xC3(")), "a\uFFFD(");
  Ids half = tokenizer->encode("\u00FF", 3);  // the first of two bytes
  EXPECT_EQ(tokenizer->decode(half), "\uFFFD");
  EXPECT_EQ(tokenizer->decode({-1, 1 << 30}), "");
}

// Python: b"...".decode("utf-8", "replace"), a U+FFFD for each maximal invalid part.
TEST(Tokenizer, ReadsBytesThatAreNotUtf8AsReplacementCharacters) {
  auto tokenizer = tiny();
  std::pair<std::string, std::string> cases[] = {
      {"\x80", "\uFFFD"},
      {"a\xE2\x82", "a\uFFFD"},
      {"\xE2\x82(", "\uFFFD("},
      {"\xF0\x9F\x98", "\uFFFD"},
      {"\xF0\x80\x80", "\uFFFD\uFFFD\uFFFD"},
      {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},
      {"\xC0\xAF", "\uFFFD\uFFFD"},
      {"\xF4\x90\x80\x80x", "\uFFFD\uFFFD\uFFFD\uFFFDx"},
      {std::string("\xC3\0", 2), std::string("\uFFFD\0", 4)},
  };
  for (const auto& [bytes, text] : cases) {
    EXPECT_EQ(tokenizer->encode(bytes), tokenizer->encode(text));
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(bytes)), text);
  }
}

TEST(Tokenizer, ThreadsMayShareIt) {
  auto tokenizer = tiny();
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (size_t i = t; i < samples().size(); i += 7)
        wrong += digest(tokenizer->encode(samples()[i].text)) != samples()[i].expected.at("tiny");
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Tokenizer, ItsFilesMakeTheSameTokenizer) {
  for (const char* name : {"tiny", "fast"}) {
    auto tokenizer = Tokenizer::load(golden(name));
    TempFolder folder;
    std::set<std::string> there{"tokenizer_config.json"};
    for (const auto& entry : fs::directory_iterator(golden(name))) {
      there.insert(entry.path().filename());
      EXPECT_EQ(tokenizer->files().at(entry.path().filename()), read_bytes(entry.path()));
    }
    for (const auto& [file, text] : tokenizer->files()) {
      EXPECT_TRUE(there.contains(file)) << file;
      write_bytes(folder / file, text);
    }
    EXPECT_EQ(tokenizer->files().size(), there.size());
    json config = json::parse(tokenizer->files().at("tokenizer_config.json"));
    EXPECT_EQ(config.at("tokenizer_class"), "RobertaTokenizer");
    expect_golden(*Tokenizer::load(folder.path()), name);
  }
}

TEST(Tokenizer, SpecialTokensLieWhereTheVocabularyHasThem) {
  TempFolder folder;
  for (auto [name, text] : word_vocabulary({"cat"})) {
    if (name == "vocab.json") {
      json vocabulary = json::parse(text);
      vocabulary["<mask>"] = 900, vocabulary["<pad>"] = 700;  // ids need not be dense
      text = vocabulary.dump();
    }
    write_bytes(folder / name, text);
  }
  auto tokenizer = Tokenizer::load(folder.path());
  EXPECT_EQ(tokenizer->vocab_size(), 901);
  EXPECT_THAT((Ids{tokenizer->bos(), tokenizer->pad(), tokenizer->eos(), tokenizer->unk(), tokenizer->mask()}),
              ElementsAre(0, 700, 2, 3, 900));
  EXPECT_THAT(tokenizer->encode("<mask><pad>"), ElementsAre(0, 900, 700, 2));
}

TEST(WordVocabulary, MakesEachWordOneToken) {
  // Words whose merges would take apart others, were they only listed.
  std::vector<std::string> words{"cab", "ab", "bab", "abcabc", "bc", "b", "a", "aaaa", "aaa", "naïve", "42", "!?"};
  TempFolder folder;
  for (const auto& [name, text] : word_vocabulary(words)) write_bytes(folder / name, text);
  auto tokenizer = Tokenizer::load(folder.path());
  std::set<int32_t> ids;
  for (const std::string& word : words) {
    EXPECT_EQ(tokenizer->encode(word).size(), 3u) << word;
    EXPECT_EQ(tokenizer->encode(" " + word).size(), 3u) << word;
    ids.insert(tokenizer->encode(word).at(1));
    ids.insert(tokenizer->encode(" " + word).at(1));
  }
  EXPECT_EQ(ids.size(), 2 * words.size());
  EXPECT_EQ(tokenizer->mask(), tokenizer->vocab_size() - 1);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("other texts, 你好")), "other texts, 你好");
  for (const char* word : {"", "two words", "semi-colon", "it's", " a", "\xFF"})
    EXPECT_THAT(message_of([&] { word_vocabulary({word}); }), testing::HasSubstr("one word")) << word;
}

TEST(Scenes, ComeWithATokenizerOfTheirWords) {
  TempFolder folder;
  generate_scenes(folder / "scenes", {.count = 48, .size = 16, .eval_every = 4});
  auto tokenizer = Tokenizer::load(folder / "scenes/tokenizer");
  EXPECT_LT(tokenizer->vocab_size(), 600);
  int captions = 0;
  for (const char* name : {"scenes/captions.jsonl", "scenes/captions-eval.jsonl"}) {
    std::ifstream in(folder / name);
    for (std::string line; std::getline(in, line);) {
      json row = json::parse(line);
      for (const std::string caption : row.at("captions")) {
        auto words = 1 + std::count(caption.begin(), caption.end(), ' ');
        EXPECT_EQ(int64_t(tokenizer->encode(caption).size()), words + 2) << caption;
        ++captions;
      }
    }
  }
  EXPECT_GT(captions, 48);
}

}  // namespace
}  // namespace viaduct::test
