#include "data/dataset.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "data/csv.hpp"
#include "tests/data/image_tools.hpp"
#include "tests/support/messages.hpp"

namespace viaduct::test {
namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

Strings ids(const Dataset& data) {
  Strings all;
  for (int64_t i = 0; i < data.size(); ++i) all.push_back(data.id(i));
  return all;
}
std::vector<int> labels(const Dataset& data) {
  std::vector<int> all;
  for (int64_t i = 0; i < data.size(); ++i) all.push_back(data.label(i));
  return all;
}
void touch(const fs::path& path) {
  fs::create_directories(path.parent_path());
  write_bytes(path, "x");
}
void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), text.npos) << "'" << part << "' in: " << text;
}

TEST(ClassFolders, AreSortedByNameAndPath) {
  TempFolder folder;
  Log log;
  for (const char* name : {"b/2.PNG", "b/10.jpg", "a-z/x.webp", "a/deep/er/1.JPEG", "a/0.jpg", "a/notes.txt",
                           "stray.jpg", "a/._0.jpg", ".hidden/0.jpg", "empty/readme.md"})
    touch(folder / name);
  DatasetPtr data = open_labelled(folder.path().string(), Split::train);
  EXPECT_EQ(ids(*data), (Strings{"a-z/x.webp", "a/0.jpg", "a/deep/er/1.JPEG", "b/10.jpg", "b/2.PNG"}));
  EXPECT_EQ(data->classes(), (Strings{"a", "a-z", "b"}));
  EXPECT_EQ(labels(*data), (std::vector{1, 0, 0, 2, 2}));
  EXPECT_TRUE(data->has_labels());
  EXPECT_EQ(data->read(1), std::vector<uint8_t>{'x'});
  expect_contains(log.text, "5 images in 3 class folders, 3 other files ignored");
}

TEST(ClassFolders, ProblemsAreNamed) {
  TempFolder folder;
  Log log;
  const std::string root = folder.path().string();
  auto open = [&] { open_train_eval(root, ""); };
  expect_contains(message_of([&] { open_train_eval(root + "/none", ""); }), "none' does not exist");
  expect_contains(message_of(open), "holds no images in class folders");
  touch(folder / "0.jpg");
  expect_contains(message_of(open), "not inside a folder");
  touch(folder / "train/a/0.jpg");
  expect_contains(message_of(open), "single class 'train'");
  touch(folder / "val/a/0.jpg");
  expect_contains(message_of(open, Exit::config), "data.train = " + root + "/train");
  expect_contains(message_of([&] { open_train_eval(root + "/0.jpg", ""); }), "is not a folder");
  fs::create_directory_symlink(folder / "train", folder / "train/a/loop");
  expect_contains(message_of(open), "folders deep");
}

TEST(ClassFolders, EvaluationUsesTheClassesOfTraining) {
  TempFolder folder;
  Log log;
  for (const char* name : {"train/a/0.jpg", "train/b/0.jpg", "train/c/0.jpg", "eval/c/0.jpg", "other/d/0.jpg"})
    touch(folder / name);
  auto path = [&](const char* name) { return (folder / name).string(); };
  TrainEval both = open_train_eval(path("train"), path("eval"));
  EXPECT_EQ(both.eval->classes(), both.train->classes());
  EXPECT_EQ(labels(*both.eval), std::vector{2});
  expect_contains(message_of([&] { open_train_eval(path("train"), path("other")); }),
                  "the label 'd' of 'd/0.jpg' is not one of the 3");
}

TEST(LabelsCsv, SplitPicksTheLines) {
  TempFolder folder;
  Log log;
  for (const char* name : {"2.jpg", "1.jpg", "x/a, \"b\".jpg", "3.jpg"}) touch(folder / name);
  touch(folder / "ignored/0.jpg");  // labels.csv wins over folders
  write_bytes(folder / "labels.csv",
              "\xef\xbb\xbf"
              "width,label,file,split\r\n1,dog,2.jpg,train\r\n2,cat,\"x/a, \"\"b\"\".jpg\",train\r\n"
              "3,dog,3.jpg,test\r\n\r\n4,cat,1.jpg,val\r\n");
  const std::string root = folder.path().string();
  TrainEval both = open_train_eval(root, root);
  EXPECT_EQ(ids(*both.train), (Strings{"2.jpg", "x/a, \"b\".jpg"}));
  EXPECT_EQ(both.train->classes(), (Strings{"cat", "dog"}));
  EXPECT_EQ(labels(*both.train), (std::vector{1, 0}));
  EXPECT_EQ(ids(*both.eval), Strings{"1.jpg"});  // val before test
  EXPECT_EQ(labels(*both.eval), std::vector{0});
  EXPECT_EQ(both.train->read(1).size(), 1u);
}

TEST(LabelsCsv, WithoutSplitAllLinesCount) {
  TempFolder folder;
  Log log;
  for (const char* name : {"1.jpg", "2.jpg"}) touch(folder / name);
  write_bytes(folder / "labels.csv", "file,label\n2.jpg,a\n1.jpg,b");
  DatasetPtr data = open_labelled(folder.path().string(), Split::eval, {"b", "c", "a"});
  EXPECT_EQ(ids(*data), (Strings{"2.jpg", "1.jpg"}));
  EXPECT_EQ(labels(*data), (std::vector{2, 0}));  // the given classes keep their order
}

TEST(LabelsCsv, ProblemsAreNamedWithTheirLine) {
  TempFolder folder;
  Log log;
  touch(folder / "1.jpg");
  const std::pair<const char*, const char*> cases[] = {
      {"file,label\n1.jpg,a\nnone.jpg,b\n", "labels.csv:3: the file 'none.jpg' does not exist"},
      {"file,label\n,a\n", "labels.csv:2: the file '' does not exist"},
      {"path,label\n1.jpg,a\n", "found 'path,label'"},
      {"file,class\n1.jpg,a\n", "found 'file,class'"},
      {"file,label\n1.jpg\n", "labels.csv:2: expected 2 fields as in the first line, found 1"},
      {"file,label\n1.jpg,a,b\n", "labels.csv:2: expected 2 fields as in the first line, found 3"},
      {"file,label\n1.jpg,\n", "labels.csv:2: the label is empty"},
      {"file,label\n1.jpg,\"a\n", "labels.csv:2: a quoted field never ends"},
      {"file,label\n1.jpg,\"a\"b\n", "labels.csv:2: text after the closing quote"},
      {"file,label,split\n1.jpg,a,training\n", "labels.csv:2: the split 'training' is not known"},
      {"file,label,split\n1.jpg,a,val\n", "no line has the split train"},
      {"file,label\n", "holds no images"},
      {"", "holds no images"},
  };
  for (auto [text, message] : cases) {
    write_bytes(folder / "labels.csv", text);
    expect_contains(message_of([&] { open_labelled(folder.path().string(), Split::train); }), message);
  }
  write_bytes(folder / "labels.csv", "file,label,split\n1.jpg,a,train\n");
  expect_contains(message_of([&] { open_labelled(folder.path().string(), Split::eval); }),
                  "no line has a split for evaluation");
}

TEST(Csv, FollowsRfc4180) {
  auto rows = parse_csv("a,\"b\nc\",\"\"\n\n\"d\"\"\",e f,\n", "t");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].fields, (Strings{"a", "b\nc", ""}));
  EXPECT_EQ(rows[1].fields, (Strings{"d\"", "e f", ""}));
  EXPECT_EQ(rows[1].line, 4);
}

TEST(HeldOut, IsAFractionOfEveryClassAndDependsOnIdsAlone) {
  TempFolder folder;
  Log log;
  for (int i = 0; i < 40; ++i) touch(folder / fmt::format("a/{}.jpg", i));
  for (int i = 0; i < 10; ++i) touch(folder / fmt::format("b/{}.jpg", i));
  touch(folder / "c/0.jpg");
  touch(folder / "d/0.jpg"), touch(folder / "d/1.jpg");
  const std::string root = folder.path().string();
  const TrainEval first = open_train_eval(root, "0.2");
  std::map<int, int> held;
  for (int label : labels(*first.eval)) ++held[label];
  EXPECT_EQ(held,
            (std::map<int, int>{{0, 8}, {1, 2}, {3, 1}}));  // none of a class of one, one at least of a class of two
  Strings all = ids(*first.train), eval = ids(*first.eval);
  all.insert(all.end(), eval.begin(), eval.end());
  EXPECT_EQ(std::set(all.begin(), all.end()).size(), 53u);
  EXPECT_EQ(all.size(), 53u);
  EXPECT_TRUE(std::is_sorted(eval.begin(), eval.end()));
  EXPECT_EQ(first.eval->read(0).size(), 1u);

  // Files added to another class change nothing, and a larger fraction holds out the same ones and more.
  for (int i = 0; i < 30; ++i) touch(folder / fmt::format("c/new{}.jpg", i));
  auto of_class_a = [](const Strings& all) {
    std::set<std::string> some;
    for (const auto& id : all)
      if (id.starts_with("a/")) some.insert(id);
    return some;
  };
  const auto before = of_class_a(eval), after = of_class_a(ids(*open_train_eval(root, "0.2").eval)),
             more = of_class_a(ids(*open_train_eval(root, "0.5").eval));
  EXPECT_EQ(before, after);
  EXPECT_EQ(more.size(), 20u);
  EXPECT_TRUE(std::includes(more.begin(), more.end(), before.begin(), before.end()));
}

TEST(HeldOut, FractionsAreChecked) {
  TempFolder folder;
  Log log;
  touch(folder / "a/0.jpg"), touch(folder / "b/0.jpg");
  const std::string root = folder.path().string();
  for (const char* wrong : {"0", "1", "1.5", "-0.1"})
    expect_contains(message_of([&] { open_train_eval(root, wrong); }, Exit::config), "between 0 and 1");
  expect_contains(message_of([&] { open_train_eval(root, "0.5"); }, Exit::config), "none can be held out");
}

TEST(Unlabelled, FoldersAndFiles) {
  TempFolder folder;
  Log log;
  for (const char* name : {"in/b.jpg", "in/a/c.png", "in/readme.md", "single.dat"}) touch(folder / name);
  fs::create_directory(folder / "none");
  auto path = [&](const char* name) { return (folder / name).string(); };
  DatasetPtr one = open_unlabelled({path("in")});
  EXPECT_EQ(ids(*one), (Strings{"a/c.png", "b.jpg"}));
  EXPECT_FALSE(one->has_labels());
  EXPECT_EQ(one->read(0).size(), 1u);
  expect_contains(log.text, "1 files that are not images ignored");
  DatasetPtr several = open_unlabelled({path("single.dat"), path("in")});
  EXPECT_EQ(ids(*several), (Strings{path("single.dat"), path("in/a/c.png"), path("in/b.jpg")}));
  EXPECT_EQ(several->read(2).size(), 1u);
  expect_contains(message_of([&] { open_unlabelled({path("gone")}); }), "does not exist");
  expect_contains(message_of([&] { open_unlabelled({path("none")}); }), "holds no");
  expect_contains(message_of([] { open_unlabelled({}); }), "no image was given");
}

TEST(Unlabelled, UnreadableFilesSayWhy) {
  TempFolder folder;
  Log log;
  touch(folder / "a.jpg");
  DatasetPtr data = open_unlabelled({folder.path().string()});
  fs::remove(folder / "a.jpg");
  expect_contains(message_of([&] { data->read(0); }), "cannot be opened: No such file");
  fs::create_directory(folder / "a.jpg");
  expect_contains(message_of([&] { data->read(0); }), "is not a regular file");
}

}  // namespace
}  // namespace viaduct::test
