// What a checkpoint remembers of the data, so that a run goes on with the same.
#include <gtest/gtest.h>

#include <set>

#include "data/dataset.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/temp_folder.hpp"
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

}  // namespace
}  // namespace viaduct::test
