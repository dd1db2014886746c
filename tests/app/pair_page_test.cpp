// Which pairs count as judged rightly, and how long texts stand in the table.
#include "app/pair_page.hpp"

#include <gmock/gmock.h>

#include "tests/support/temp_folder.hpp"

namespace viaduct::app {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(PairPage, APairIsJudgedRightlyOnEitherSide) {
  const std::vector<uint8_t> png = {0x89, 'P', 'N', 'G'};
  const std::vector<ScoredPair> pairs = {{"a.png", "yes, seen", 0.9, true, png},
                                         {"a.png", "no, seen", 0.1, false, {}},
                                         {"a.png", "yes, missed", 0.2, true, {}},
                                         {"a.png", "unknown", 0.8, {}, {}}};
  std::string table = pair_table(pairs);
  EXPECT_THAT(table, HasSubstr("0.900 ✓  yes, seen"));
  EXPECT_THAT(table, HasSubstr("0.100 ✓  no, seen"));
  EXPECT_THAT(table, HasSubstr("0.200 ✗  yes, missed"));
  EXPECT_THAT(table, HasSubstr("2 of 3 pairs are judged rightly"));
  EXPECT_THAT(pair_table({pairs[3]}), HasSubstr("1 pairs"));
  EXPECT_THAT(pair_table({pairs[3]}), Not(HasSubstr("✗")));

  test::TempFolder folder;
  write_pair_page(folder / "page.html", "A <title>", pairs);
  std::string page = test::read_bytes(folder / "page.html");
  EXPECT_THAT(page, HasSubstr("<title>A &lt;title&gt;</title>"));
  EXPECT_THAT(page, HasSubstr("2 of 3 pairs are judged rightly"));
  EXPECT_THAT(page, HasSubstr("src=\"data:image/png;base64,iVBORw==\""));
  write_pair_page(folder / "page.html", "Nothing", {});
  EXPECT_THAT(test::read_bytes(folder / "page.html"), testing::EndsWith("<main>\n</main></html>\n"));
}

TEST(PairPage, TheTableCountsCharacters) {
  std::string row = pair_table({{"a.jpg", "éé", 0.5, {}, {}}});
  EXPECT_THAT(row, HasSubstr("éé" + std::string(58, ' ') + " a.jpg"));
  std::string text;
  for (int i = 0; i < 70; ++i) text += "é";
  EXPECT_THAT(pair_table({{"a.jpg", text, 0.5, {}, {}}}), HasSubstr(text.substr(0, 2 * 59) + "… a.jpg"));
}

}  // namespace
}  // namespace viaduct::app
