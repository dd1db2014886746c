// Files: bounded reads, durable writes, folders that appear whole.
#include "core/base/files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "core/base/json.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/temp_folder.hpp"

namespace viaduct {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using test::read_bytes;
using test::TempFolder;
using test::write_bytes;
using testing::AllOf;
using testing::HasSubstr;

size_t entries(const Path& folder) {
  return size_t(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(Files, ReadsAreBounded) {
  TempFolder folder;
  write_bytes(folder / "f", "0123456789");
  EXPECT_EQ(read_file(folder / "f", 10), "0123456789");
  EXPECT_THAT(message_of([&] { read_file(folder / "f", 9); }), HasSubstr("f: expected at most 9 bytes, found 10"));
  EXPECT_THAT(message_of([&] { read_file(folder / "absent", 9); }), HasSubstr("absent: there is no such file"));
  EXPECT_THAT(message_of([&] { read_file(folder.path(), 9); }), HasSubstr("expected a file, found a folder"));
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(message_of([&] { read_file(folder / "pipe", 9); }), HasSubstr("found a device or pipe"));
  FileReader file(folder / "f");
  char two[2];
  file.read(8, two, 2);
  EXPECT_EQ(std::string(two, 2), "89");
  EXPECT_THAT(message_of([&] { file.read(9, two, 2); }), HasSubstr("expected 2 bytes at offset 9, found 1"));
}

TEST(Files, DurableWritesReplaceAndLeaveNothingBehind) {
  TempFolder folder;
  write_file_durable(folder / "new" / "f", "one");
  write_file_durable(folder / "new" / "f", "two");
  EXPECT_EQ(read_bytes(folder / "new" / "f"), "two");
  EXPECT_EQ(entries(folder / "new"), 1u);
  fs::create_directory(folder / "new" / "taken");
  EXPECT_THROW(write_file_durable(folder / "new" / "taken", "x"), Error);
  EXPECT_EQ(entries(folder / "new"), 2u);
  write_bytes(folder / "file", "");
  EXPECT_THROW(write_file_durable(folder / "file" / "below", "x"), Error);
}

TEST(Files, AWriterHashesWhatItWrites) {
  TempFolder folder;
  FileDigest written;
  {
    FileWriter file(folder / "f");
    for (int i = 0; i < 1000; ++i) file.append("some text, ");
    written = file.finish();
  }
  EXPECT_EQ(written.bytes, 11000);
  EXPECT_EQ(written, digest_file(folder / "f"));
  EXPECT_EQ(written.xxh3, xxh3_hex(read_bytes(folder / "f")));
  EXPECT_EQ(xxh3_hex(""), "2d06800538d394c2");  // the reference's value for no input
  { FileWriter(folder / "unfinished").append("x"); }
  EXPECT_FALSE(fs::exists(folder / "unfinished"));
}

TEST(Files, AStagedFolderAppearsWholeOrNotAtAll) {
  TempFolder folder;
  Path destination = folder / "deep" / "model";
  auto stage = [&](const std::string& text, StagedFolder::Replace replace = StagedFolder::Replace::older_version) {
    StagedFolder staged(destination / "");  // a trailing slash is welcome
    write_bytes(staged.path() / "f", text);
    EXPECT_NE(staged.path(), destination);
    staged.commit(replace);
  };
  fs::create_directories(folder / "deep" / ".model.tmp-1" / "left by a kill");
  { StagedFolder given_up(destination); }
  EXPECT_EQ(entries(folder / "deep"), 0u);
  stage("one");
  stage("two");
  EXPECT_EQ(read_bytes(destination / "f"), "two");
  write_bytes(destination / "mine", "precious");
  EXPECT_THAT(message_of([&] { stage("three"); }, Exit::config), HasSubstr("found 'mine' in it"));
  EXPECT_EQ(read_bytes(destination / "f"), "two");
  EXPECT_EQ(read_bytes(destination / "mine"), "precious");
  stage("four", StagedFolder::Replace::anything);
  EXPECT_EQ(read_bytes(destination / "f"), "four");
  EXPECT_EQ(entries(folder / "deep"), 1u);
}

// A file system that cannot exchange two folders takes two renames; a kill may come between them.
TEST(Files, TheOlderVersionComesBackWhenItsSuccessorNeverCame) {
  TempFolder folder;
  auto killed = [&] {
    for (const char* name : {".model.tmp-1-old", ".model.tmp-1"}) fs::create_directories(folder / name);
    write_bytes(folder / ".model.tmp-1-old" / "f", "old");
    write_bytes(folder / ".model.tmp-1" / "f", "new");
  };
  killed();
  { StagedFolder next(folder / "model"); }
  EXPECT_EQ(read_bytes(folder / "model" / "f"), "old");
  EXPECT_EQ(entries(folder.path()), 1u);
  killed();  // now with a successor in place
  StagedFolder::remove_leftovers(folder.path());
  EXPECT_EQ(read_bytes(folder / "model" / "f"), "old");
  EXPECT_EQ(entries(folder.path()), 1u);
  fs::remove_all(folder / "model");
  killed();
  StagedFolder::remove_leftovers(folder.path());
  EXPECT_EQ(read_bytes(folder / "model" / "f"), "old");
}

TEST(Files, AnAppenderAddsToWhatIsThere) {
  TempFolder folder;
  for (const char* line : {"one\n", "two\n"}) {
    FileAppender file(folder / "f");
    file.append(line);
    file.sync();
  }
  EXPECT_EQ(read_bytes(folder / "f"), "one\ntwo\n");
  FileAppender full("/dev/full");
  EXPECT_THAT(message_of([&] { full.append("x"); }, Exit::crash), HasSubstr("the disk is full"));
}

TEST(Files, AnUnwritablePlaceIsAConfigurationError) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  TempFolder folder;
  fs::permissions(folder.path(), fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_THAT(message_of([&] { write_file_durable(folder / "f", "x"); }, Exit::config),
              AllOf(HasSubstr("permission denied"), HasSubstr("choose another output folder")));
  EXPECT_THROW(StagedFolder(folder / "model"), Error);
  fs::permissions(folder.path(), fs::perms::owner_all);
}

TEST(Files, JsonIsAnObjectOfBoundedDepth) {
  auto parse = [](const std::string& text) { return message_of([&] { parse_json_object(text, "x.json"); }); };
  EXPECT_EQ(parse(R"({"a":[1,{"b":2}]})"), "no error");
  EXPECT_THAT(parse("[1]"), HasSubstr("x.json: expected a JSON object"));
  EXPECT_THAT(parse("{\"a\":1"), HasSubstr("x.json: expected JSON, found something else at byte"));
  EXPECT_THAT(parse("{\"a\":" + std::string(1'000'000, '[')), HasSubstr("at most 32 levels"));
  EXPECT_THAT(parse(std::string("{}\0{", 4)), HasSubstr("NUL"));
}

}  // namespace
}  // namespace viaduct
