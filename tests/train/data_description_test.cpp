// What is remembered and compared of data and model files, so that a run goes on with the same and its ranks agree.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "comm/thread_comm.hpp"
#include "data/dataset.hpp"
#include "data/word_vocabulary.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/temp_folder.hpp"
#include "train/agreement.hpp"
#include "train/resume.hpp"

namespace viaduct::test {
namespace {

TEST(DataDescription, EveryPartOfARowCounts) {
  TempFolder folder;
  Log log;
  auto describe = [&](const char* image, const char* texts, const char* more) {
    write_bytes(folder / "captions.jsonl",
                fmt::format(R"({{"image": "{}", "captions": [{}]{}}})", image, texts, more) + "\n");
    return describe_data(*open_texts(folder.path().string(), Split::train));
  };
  const std::set<std::string> all{describe("a.jpg", R"("x")", ""),
                                  describe("b.jpg", R"("x")", ""),
                                  describe("a.jpg", R"("y")", ""),
                                  describe("a.jpg", R"("x", "y")", ""),
                                  describe("a.jpg", R"("y", "x")", ""),
                                  describe("a.jpg", R"("xy")", ""),
                                  describe("a.jpg", R"("x")", R"(, "label": 0)"),
                                  describe("a.jpg", R"("x")", R"(, "label": 1)")};
  EXPECT_EQ(all.size(), 8u);
  EXPECT_EQ(describe("a.jpg", R"("x")", R"(, "width": 3)"), describe("a.jpg", R"("x")", ""));
}

TokenizerPtr tokenizer_of(const std::map<std::string, std::string>& files) {
  TempFolder folder;
  for (const auto& [name, text] : files) write_bytes(folder / name, text);
  return Tokenizer::load(folder.path());
}

// What the ranks are told, rank r with sources[r].
std::set<std::string> agreement(const std::vector<ModelSource>& sources) {
  std::vector<std::string> told(sources.size());
  run_ranks(int(sources.size()), [&](Communicator& comm) {
    told[size_t(comm.rank())] = message_of([&] { agree_on_model(sources[size_t(comm.rank())], comm); });
  });
  return {told.begin(), told.end()};
}

TEST(ModelAgreement, NamesTheFileAndTheRanksThatDiffer) {
  const auto words = word_vocabulary({"cat"});
  ModelSource same;
  same.config = BridgeTowerConfig(), same.choice = {.itc = 1, .first = "itc"};
  same.tokenizer = tokenizer_of(words);
  const std::set<std::string> fine{"no error"};
  EXPECT_EQ(agreement({same}), fine);
  ModelSource elsewhere = same;
  elsewhere.folder = "elsewhere", elsewhere.tokenizer = tokenizer_of(words);
  EXPECT_EQ(agreement({same, elsewhere, same}), fine);

  ModelSource config = same, processor = same, tokenizer = same, settings = same, none = same;
  std::get<BridgeTowerConfig>(config.config).text.layer_norm_eps = 1e-6;
  processor.processor.mean[0] += 0.01f;
  tokenizer.tokenizer = tokenizer_of(word_vocabulary({"dog"}));
  none.tokenizer = nullptr;
  auto other = words;
  other["tokenizer_config.json"] += "\n";
  settings.tokenizer = tokenizer_of(other);
  auto expect_named = [&](const std::vector<ModelSource>& sources, const char* message) {
    auto told = agreement(sources);
    ASSERT_EQ(told.size(), 1u) << "every rank is told the same";
    EXPECT_THAT(*told.begin(), testing::StartsWith(message));
  };
  expect_named({same, config}, "rank 1 found another config.json than rank 0; every host needs the same files under");
  expect_named({same, processor, same, processor}, "ranks 1, 3 found another preprocessor_config.json than rank 0");
  expect_named({same, same, tokenizer}, "rank 2 found another merges.txt than rank 0");
  expect_named({same, settings}, "rank 1 found another tokenizer_config.json than rank 0");
  expect_named({none, same, same}, "ranks 1, 2 found another merges.txt than rank 0");
}

}  // namespace
}  // namespace viaduct::test
