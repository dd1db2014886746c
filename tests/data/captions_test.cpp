#include <gtest/gtest.h>

#include <set>

#include "data/dataset.hpp"
#include "tests/data/image_tools.hpp"
#include "tests/support/messages.hpp"

namespace viaduct::test {
namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

class CaptionsTest : public testing::Test {
 protected:
  std::string write(const std::string& text, const std::string& name = "captions.jsonl") {
    write_bytes(folder / name, text);
    return (folder / name).string();
  }
  // The problem of the second of two lines, as the log names it.
  std::string problem_of(const std::string& line) {
    log.text.clear();
    DatasetPtr data = open_texts(write(kGood + line + "\n"), Split::train);
    EXPECT_EQ(data->size(), 1) << line;
    return log.text;
  }
  void expect_said(const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), text.npos) << "'" << part << "' in: " << text;
  }
  const std::string kGood = R"({"image": "a.jpg", "captions": ["one", "two"]})"
                            "\n";
  TempFolder folder;
  Log log;
};

TEST_F(CaptionsTest, EveryFormIsRead) {
  DatasetPtr data = open_texts(write("\xef\xbb\xbf"
                                     R"({"image": "x/a.jpg", "captions": ["one", " ", "two "], "id": 7})"
                                     "\r\n\r\n  \n"
                                     R"({"file_name": "./x//b.jpg", "text": "drei", "image": null})"
                                     "\r\n"
                                     R"({"image": "x/y/../a.jpg", "caption": "\u00e9té\u0000 😀", "label": null})"),
                               Split::train);
  ASSERT_EQ(data->size(), 3);
  EXPECT_TRUE(data->has_text());
  EXPECT_FALSE(data->has_labels());
  EXPECT_TRUE(data->classes().empty());
  EXPECT_EQ(data->texts(0), (Strings{"one", "two "}));
  EXPECT_EQ(data->texts(1), Strings{"drei"});
  EXPECT_EQ(data->texts(2), Strings{std::string("été\0 😀", 11)});
  EXPECT_EQ(data->image(0), "x/a.jpg");
  EXPECT_EQ(data->image(1), "x/b.jpg");
  EXPECT_EQ(data->image(2), data->image(0));
  EXPECT_EQ(data->id(2), "captions.jsonl:5 (x/a.jpg)");
  EXPECT_EQ(data->line(1), 4);
  expect_said(log.text, "captions.jsonl: 3 rows with 4 texts");
  EXPECT_EQ(message_of([&] { data->read(0); }), "cannot be opened: No such file or directory");
  write_file(folder / "x/a.jpg", std::vector<uint8_t>{1, 2});
  EXPECT_EQ(data->read(2).size(), 2u);  // relative to the file, wherever the program runs
}

TEST_F(CaptionsTest, PairsMayHaveLabels) {
  DatasetPtr data = open_texts(write(R"({"image": "a.jpg", "text": "x", "label": 1})"
                                     "\n"
                                     R"({"image": "a.jpg", "text": "y", "label": 0})"),
                               Split::train);
  EXPECT_TRUE(data->has_labels());
  EXPECT_EQ(data->classes(), (Strings{"0", "1"}));
  EXPECT_EQ(data->label(0), 1);
  EXPECT_EQ(data->label(1), 0);
}

TEST_F(CaptionsTest, AFolderIsSearchedForItsFile) {
  write(R"({"file_name": "a.jpg", "text": "metadata"})", "metadata.jsonl");
  const std::string root = folder.path().string();
  EXPECT_EQ(open_texts(root, Split::train)->texts(0), Strings{"metadata"});
  write(kGood);
  EXPECT_EQ(open_texts(root + "/", Split::train)->id(0), "captions.jsonl:1 (a.jpg)");
  fs::create_directory(folder / "empty");
  expect_said(message_of([&] { open_texts(root + "/empty", Split::train); }), "holds no captions.jsonl, metadata");
  expect_said(message_of([&] { open_texts(root + "/none.jsonl", Split::train); }), "none.jsonl' does not exist");
  expect_said(message_of([&] { open_texts(write("[]", "c.json"), Split::train); }), "expected a .jsonl file");
  expect_said(message_of([&] { open_texts(write("\n \n"), Split::train); }), "holds no rows");
  expect_said(message_of([&] { open_texts(write(""), Split::train); }), "holds no rows");
}

TEST_F(CaptionsTest, BadRowsAreNamedWithTheirLineAndLeftOut) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"image": "b.jpg", "captions": ["x")", "the row: expected JSON, found something else at byte 36"},
      {R"(["b.jpg", "x"])", "the row: expected a JSON object"},
      {R"({"captions": ["x"]})", "the row names no image"},
      {R"({"image": 3, "captions": ["x"]})", "the row's image is not a text"},
      {R"({"image": {"path": "b.jpg"}, "text": "x"})", "the row's image is not a text"},
      {R"({"image": "", "text": "x"})", "the row's image is no path"},
      {R"({"image": "b/", "text": "x"})", "the row's image is no path"},
      {R"({"image": "b\u0000.jpg", "text": "x"})", "the row's image is no path"},
      {R"({"image": "/etc/b.jpg", "text": "x"})", "the image '/etc/b.jpg' is not below the folder"},
      {R"({"image": "../b.jpg", "text": "x"})", "the image '../b.jpg' is not below the folder"},
      {R"({"image": "c/../../b.jpg", "text": "x"})", "the image 'c/../../b.jpg' is not below the folder"},
      {R"({"image": "b.jpg"})", "the row has no text"},
      {R"({"image": "b.jpg", "captions": []})", "the row's texts are empty"},
      {R"({"image": "b.jpg", "captions": ["", " \t\n"]})", "the row's texts are empty"},
      {R"({"image": "b.jpg", "text": ""})", "the row's texts are empty"},
      {R"({"image": "b.jpg", "captions": ["x", 3]})", "expected a text, found number"},
      {R"({"image": "b.jpg", "text": {"en": "x"}})", "expected a text, found object"},
      {R"({"image": "b.jpg", "text": "x", "label": 2})", "the row's label: expected 0 or 1, found 2"},
      {R"({"image": "b.jpg", "text": "x", "label": "1"})", "label: expected a whole number, found \"1\""},
      {R"({"image": "b.jpg", "captions": ["x", "y"], "label": 1})", "a label and 2 texts"},
      {R"({"image": "b.jpg", "text": "x", "split": 1})", "split: expected a text, found 1"},
      {"{\"image\": \"b.jpg\", \"text\": \"\xff\xfe\"}", "the row: expected JSON"},
      {R"({"image": "b.jpg", "text": "\ud800"})", "the row: expected JSON"},
      {"x", "the row: expected JSON"},
  };
  for (auto [line, message] : cases) {
    const std::string said = problem_of(line);
    expect_said(said, "captions.jsonl:2: ");
    expect_said(said, message);
    expect_said(said, "1 of 2 rows are left out");
  }
  expect_said(problem_of(std::string("{\"image\": \"b.jpg\",\0 \"text\": \"x\"}", 33)), "a NUL byte");
  expect_said(problem_of(std::string(100000, '[')), "the row: expected at most 32 levels");
}

TEST_F(CaptionsTest, TooManyBadRowsAreAnError) {
  auto rows = [&](int good, int bad) {
    std::string text;
    for (int i = 0; i < std::max(good, bad); ++i) text += (i < good ? kGood : "") + (i < bad ? "broken\n" : "");
    return write(text);
  };
  EXPECT_EQ(open_texts(rows(20, 10), Split::train)->size(), 20);  // at least ten
  std::string message = message_of([&] { open_texts(rows(20, 11), Split::train); });
  expect_said(message, "11 of 31 rows cannot be used, more than the 10 that are tolerated");
  expect_said(message, "captions.jsonl:2: the row: expected JSON");
  expect_said(message, "captions.jsonl:22: ");
  EXPECT_EQ(open_texts(rows(1980, 20), Split::train)->size(), 1980);  // one in a hundred
  message = message_of([&] { open_texts(rows(1970, 21), Split::train); });
  expect_said(message, "21 of 1991 rows");
  expect_said(message, "and 1 more");
  EXPECT_EQ(open_texts(rows(2, 3), Split::train, 3)->size(), 2);
  expect_said(message_of([&] { open_texts(rows(2, 3), Split::train, 2); }), "more than the 2");
  expect_said(message_of([&] { open_texts(rows(2, 1), Split::train, 0); }), "more than the 0");
  expect_said(message_of([&] { open_texts(rows(0, 3), Split::train); }), "none of the 3 rows can be used");
}

TEST_F(CaptionsTest, LabelsAndSplitsAreInEveryRowOrInNone) {
  auto row = [](const char* more) { return fmt::format(R"({{"image": "a.jpg", "text": "x"{}}})", more) + "\n"; };
  auto message = [&](const std::string& text) { return message_of([&] { open_texts(write(text), Split::train); }); };
  const std::string plain = row(""), labelled = row(R"(, "label": 1)"), split = row(R"(, "split": "train")");
  expect_said(message(plain + plain + labelled), "captions.jsonl:3: the row has a label, but line 1 has none");
  expect_said(message(labelled + "\n" + plain), "captions.jsonl:3: the row has no label, but line 1 has one");
  expect_said(message(split + plain), "captions.jsonl:2: the row has no split, but line 1 has one");
  expect_said(message(split + row(R"(, "split": "training")")), "captions.jsonl:2: the split 'training' is not known");
  expect_said(message(row(R"(, "split": "val")")), "no line has the split train");
  EXPECT_EQ(open_texts(write("broken\n" + labelled + row(R"(, "label": 7)") + labelled), Split::train)->size(), 2);
}

TEST_F(CaptionsTest, TheSplitPicksTheRows) {
  std::string text;
  for (const char* split : {"train", "test", "val", "train", "val"})
    text += fmt::format(R"({{"image": "{0}.jpg", "text": "a {0}", "split": "{0}"}})", split) + "\n";
  const std::string root = fs::path(write(text)).parent_path().string();
  TrainEval both = open_text_train_eval(root, root);
  ASSERT_EQ(both.train->size(), 2);
  EXPECT_EQ(both.train->line(1), 4);
  ASSERT_EQ(both.eval->size(), 2);  // val before test
  EXPECT_EQ(both.eval->id(0), "captions.jsonl:3 (val.jpg)");
  EXPECT_EQ(open_text_train_eval(root, "").eval, nullptr);
  EXPECT_EQ(open_text_rows(root)->size(), 5);
}

TEST_F(CaptionsTest, EvaluationMayBeAnotherFile) {
  const std::string train = write(kGood), eval = write(R"({"image": "b.jpg", "text": "x", "label": 0})", "eval.jsonl");
  TrainEval both = open_text_train_eval(train, eval);
  EXPECT_EQ(both.eval->id(0), "eval.jsonl:1 (b.jpg)");
  EXPECT_FALSE(both.train->has_labels());
  EXPECT_TRUE(both.eval->has_labels());
  log.text.clear();
  EXPECT_EQ(open_text_train_eval(train, train).eval->size(), 1);
  expect_said(log.text, "warning: data.train and data.eval are the same 1 rows: they have no split");
}

TEST_F(CaptionsTest, AFractionHoldsOutWholeImages) {
  std::string text;
  for (int i = 0; i < 120; ++i)
    text += fmt::format(R"({{"image": "{}.jpg", "text": "t{}", "label": {}}})", i % 40, i, i % 2) + "\n";
  const std::string file = write(text);
  TrainEval both = open_text_train_eval(file, "0.2");
  auto images = [](const Dataset& data) {
    std::set<std::string> all;
    for (int64_t i = 0; i < data.size(); ++i) all.insert(data.image(i));
    return all;
  };
  const auto train = images(*both.train), eval = images(*both.eval);
  EXPECT_EQ(eval.size(), 8u);
  EXPECT_EQ(train.size(), 32u);
  EXPECT_EQ(both.eval->size(), 24);
  EXPECT_EQ(both.train->size(), 96);
  for (const auto& image : eval) EXPECT_FALSE(train.contains(image));
  EXPECT_TRUE(both.eval->has_text());
  EXPECT_EQ(both.eval->texts(3), Strings{fmt::format("t{}", both.eval->line(3) - 1)});
  EXPECT_EQ(both.eval->label(3), (both.eval->line(3) - 1) % 2);
  for (int64_t i = 1; i < both.train->size(); ++i) EXPECT_LT(both.train->line(i - 1), both.train->line(i));

  const auto more = images(*open_text_train_eval(file, "0.5").eval);  // the same ones and more
  EXPECT_EQ(more.size(), 20u);
  EXPECT_TRUE(std::includes(more.begin(), more.end(), eval.begin(), eval.end()));
  expect_said(message_of([&] { open_text_train_eval(write(kGood + kGood), "0.5"); }, Exit::config), "a single image");
  expect_said(message_of([&] { open_text_train_eval(file, "1.5"); }, Exit::config), "between 0 and 1");
}

TEST_F(CaptionsTest, PredictionSeesEveryRowAndWhatIsWrongWithIt) {
  DatasetPtr data = open_text_rows(write(kGood + "\nbroken\n" + R"({"image": "b.jpg", "text": " "})" + "\n" + kGood));
  ASSERT_EQ(data->size(), 4);
  EXPECT_EQ(data->id(1), "captions.jsonl:3");
  EXPECT_EQ(data->line(3), 5);
  EXPECT_EQ(data->texts(1).size(), 1u);  // as every row has
  expect_said(message_of([&] { data->read(1); }), "the row: expected JSON");
  EXPECT_EQ(data->id(2), "captions.jsonl:4 (b.jpg)");
  EXPECT_EQ(message_of([&] { data->read(2); }), "the row's texts are empty");

  auto row = [](const char* image, const char* text, const char* split) {
    return fmt::format(R"({{"image": "{}", "text": "{}", "split": "{}"}})", image, text, split) + "\n";
  };
  data = open_text_rows(write(row("a.jpg", "x", "train") + row("", "x", "val") + row("", "x", "train") + "broken\n" +
                              row("b.jpg", "x", "val")),
                        Split::eval);
  std::vector<int64_t> lines;
  for (int64_t i = 0; i < data->size(); ++i) lines.push_back(data->line(i));
  EXPECT_EQ(lines, (std::vector<int64_t>{2, 4, 5}));  // a row that cannot be read may be of any split
}

TEST_F(CaptionsTest, AVeryLongTextIsRead) {
  const std::string words(10 << 20, 'x');
  DatasetPtr data = open_texts(write(R"({"image": "a.jpg", "text": ")" + words + "\"}\n" + kGood), Split::train);
  EXPECT_EQ(data->texts(0).front(), words);
  EXPECT_EQ(data->size(), 2);
}

TEST(CaptionData, TheRealCaptionsAreRead) {
  if (photo_folder().empty()) GTEST_SKIP() << "VIADUCT_DATA is not set";
  Log log;
  const std::string file = (photo_folder() / "captions").string();
  TrainEval both = open_text_train_eval(file, "0.1");
  std::set<std::string> train;
  for (int64_t i = 0; i < both.train->size(); ++i) {
    train.insert(both.train->image(i));
    EXPECT_GE(both.train->texts(i).size(), 5u);
    EXPECT_GT(both.train->read(i).size(), 1000u);
  }
  for (int64_t i = 0; i < both.eval->size(); ++i) EXPECT_FALSE(train.contains(both.eval->image(i)));
  EXPECT_GT(both.eval->size(), 10);
}

}  // namespace
}  // namespace viaduct::test
