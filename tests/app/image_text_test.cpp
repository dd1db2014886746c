// The commands with a tiny BridgeTower that was trained on the scenes' captions.
#include <gmock/gmock.h>

#include <cmath>

#include "models/safetensors.hpp"
#include "tests/app/program.hpp"

namespace viaduct::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class ImageTextCommands : public ProgramTest {
 protected:
  static std::string itm() { return shared("itm").string(); }
  static std::string itc() { return shared("itc").string(); }
  static std::string held_out() { return scenes() + "/captions-eval.jsonl"; }
  std::string path(const std::string& name) const { return (own_ / name).string(); }
  static std::string config() { return "--config " + shared("bridgetower.cfg").string(); }

  static void SetUpTestSuite() {
    ProgramTest::SetUpTestSuite();
    if (fs::exists(itc())) return;
    write_bytes(shared("bridgetower.cfg"),
                "[model]\narch = bridgetower\nhidden_size = 24\nnum_hidden_layers = 2\ncontrastive_hidden_size = 16\n"
                "initializer_factor = 3\ntext_config.hidden_size = 24\ntext_config.num_hidden_layers = 3\n"
                "text_config.num_attention_heads = 2\ntext_config.intermediate_size = 32\n"
                "text_config.max_position_embeddings = 26\ntext_config.initializer_factor = 3\n"
                "vision_config.hidden_size = 64\nvision_config.num_hidden_layers = 3\nvision_config.patch_size = 16\n"
                "vision_config.image_size = 32\nvision_config.initializer_factor = 3\n"
                "[data]\nworkers = 1\n[train]\nbatch_size = 4\nlr = 1e-3\nsteps = 6\n");
    const std::string data = " --data.train " + scenes() + " --data.tokenizer " + scenes() + "/tokenizer";
    for (auto [folder, more] : {std::pair{itm(), " --task.name itm --task.freeze vision"},
                                {itc(), " --task.name itc --task.negatives global"}}) {
      Result trained = ranks(2, "train " + config() + data + more + " --run.output " + folder);
      ASSERT_EQ(trained.code, 0) << trained.err;
    }
  }
  // Predictions for an input, as JSON.
  std::vector<nlohmann::json> predict(int n, const std::string& arguments) {
    Result result = ranks(n, "predict " + arguments + " --predict.output " + path("p.jsonl"));
    EXPECT_EQ(result.code, 0) << result.err;
    out_ = result.out, err_ = result.err;
    return json_lines(own_ / "p.jsonl");
  }
  // A picture of the scenes beside files of the test.
  void copy_picture(const std::string& name, const std::string& class_name = "red_circle") {
    fs::copy(fs::directory_iterator(scenes() + "/eval/" + class_name)->path(), own_ / name);
  }
  std::string out_, err_;
};

TEST_F(ImageTextCommands, PredictSaysEveryTextOnceInOrder) {
  std::vector<std::pair<int, std::string>> expected;
  std::ifstream captions(held_out());
  int number = 0;
  for (std::string line; std::getline(captions, line);) {
    ++number;
    auto row = nlohmann::json::parse(line);
    for (const std::string& text : row["captions"].get<std::vector<std::string>>()) expected.emplace_back(number, text);
  }
  ASSERT_GT(expected.size(), size_t(number)) << "some pictures have several texts";
  std::vector<nlohmann::json> first;
  // The score is a pair's own: neither its batch nor the number of ranks matters.
  for (auto [n, batch] : {std::pair{1, 1}, {1, 3}, {1, 8}, {2, 3}}) {
    auto found =
        predict(n, itm() + " " + held_out() + " --predict.logits true --train.batch_size " + std::to_string(batch));
    EXPECT_THAT(err_, HasSubstr(std::to_string(expected.size()) + " pairs, 0 of them unreadable"));
    ASSERT_EQ(found.size(), expected.size());
    if (first.empty()) first = found;
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i]["id"], expected[i].first);
      EXPECT_EQ(found[i]["text"], expected[i].second);
      EXPECT_TRUE(fs::exists(scenes() + "/" + found[i]["image"].get<std::string>())) << found[i];
      double no = found[i]["logits"][0], yes = found[i]["logits"][1], score = found[i]["score"];
      ASSERT_EQ(found[i]["logits"].size(), 2u);
      EXPECT_NEAR(score, std::exp(yes) / (std::exp(no) + std::exp(yes)), 1e-6);
      EXPECT_EQ(found[i]["score"], first[i]["score"]) << n << " ranks, batches of " << batch;
      EXPECT_EQ(found[i]["logits"], first[i]["logits"]) << n << " ranks, batches of " << batch;
    }
  }
  EXPECT_NE(first.front()["score"], first.back()["score"]);
  EXPECT_FALSE(predict(1, itm() + " " + held_out())[0].contains("logits"));
}

TEST_F(ImageTextCommands, PredictSaysWhatIsWrongWithALine) {
  copy_picture("good.jpg");
  write_bytes(own_ / "text.jpg", "no picture");
  write_bytes(own_ / "captions.jsonl",
              "{\"image\": \"good.jpg\", \"captions\": [\"a red circle\", \"a blue star\"]}\n"
              "{\"image\": \"good.jpg\", \"captions\": \n"
              "\n"
              "{\"image\": \"none.jpg\", \"text\": \"a red circle\"}\n"
              "{\"image\": \"text.jpg\", \"text\": \"a red circle\"}\n"
              "{\"image\": \"good.jpg\", \"captions\": [\" \"]}\n"
              "{\"image\": \"../good.jpg\", \"text\": \"a red circle\"}\n"
              "{\"image\": \"good.jpg\", \"text\": \"a red circle\"}\n");
  const std::vector<std::pair<int, const char*>> expected = {{1, ""},
                                                             {1, ""},
                                                             {2, ""},
                                                             {4, "cannot be opened"},
                                                             {5, "is a text file"},
                                                             {6, "the row's texts are empty"},
                                                             {7, "not below the folder of the file"},
                                                             {8, ""}};
  for (int n : {1, 2})
    for (const std::string& input : {own_.path().string(), path("captions.jsonl")}) {
      auto found = predict(n, itm() + " " + input + " --train.batch_size 3");
      EXPECT_THAT(err_, HasSubstr("8 pairs, 5 of them unreadable"));
      ASSERT_EQ(found.size(), expected.size());
      for (size_t i = 0; i < found.size(); ++i) {
        EXPECT_EQ(found[i]["id"], expected[i].first);
        bool bad = i > 1 && i < 7;
        EXPECT_EQ(found[i].contains("error"), bad) << found[i];
        EXPECT_EQ(found[i].contains("score"), !bad) << found[i];
        EXPECT_THAT(found[i].value("error", ""), HasSubstr(expected[i].second));
      }
      EXPECT_NEAR(found[0]["score"].get<double>(), found[7]["score"].get<double>(), 1e-6);  // the same pair
    }
}

TEST_F(ImageTextCommands, APageAndATableShowThePairs) {
  copy_picture("a.jpg"), copy_picture("b \"1\" & <2>.jpg", "blue_square");
  write_bytes(own_ / "pairs.jsonl", R"({"image": "a.jpg", "text": "<b>red</b> & \"round\"", "label": 1})"
                                    "\n"
                                    R"({"image": "a.jpg", "text": "a blue star", "label": 0})"
                                    "\n"
                                    R"({"image": "missing.jpg", "text": "a red circle", "label": 1})"
                                    "\n"
                                    R"({"image": "b \"1\" & <2>.jpg", "text": "a blue square", "label": 1})"
                                    "\n");
  auto found = predict(2, itm() + " " + path("pairs.jsonl") + " --predict.page " + path("page.html"));
  ASSERT_EQ(found.size(), 4u);
  std::string page = read_bytes(own_ / "page.html");
  EXPECT_THAT(page, AllOf(testing::StartsWith("<!doctype html>"), testing::EndsWith("</main></html>\n")));
  EXPECT_THAT(page, HasSubstr("&lt;b&gt;red&lt;/b&gt; &amp; &quot;round&quot;"));
  EXPECT_THAT(page, HasSubstr("alt=\"b &quot;1&quot; &amp; &lt;2&gt;.jpg\""));
  EXPECT_THAT(page, Not(HasSubstr("<b>red")));
  EXPECT_THAT(page, Not(HasSubstr("missing.jpg")));  // without a score
  auto count = [](const std::string& text, const std::string& part) {
    size_t n = 0;
    for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++n;
    return n;
  };
  for (const char* tag : {"figure", "main", "title", "style", "h1", "p", "b", "span"})
    EXPECT_EQ(count(page, std::string("<") + tag + ">") + count(page, std::string("<") + tag + " "),
              count(page, std::string("</") + tag + ">"))
        << tag;
  EXPECT_EQ(count(page, "<figure>"), 2u);
  EXPECT_EQ(count(page, "<div class=\"pair"), 3u);
  // The pictures themselves, so that the page needs no other file.
  EXPECT_EQ(count(page, "src=\"data:image/jpeg;base64,/9j/"), 2u);
  EXPECT_EQ(count(page, "src="), 2u);
  Result decoded = shell("grep -o 'base64,[^\"]*' " + path("page.html") +
                         " | head -1 | cut -d, -f2 | base64 -d | cmp - " + path("a.jpg"));
  EXPECT_EQ(decoded.code, 0) << decoded.out << decoded.err;

  int right = 0;
  for (size_t i : {0, 1, 3}) right += (found[i]["score"].get<double>() > 0.5) == (i != 1);
  const std::string summary = std::to_string(right) + " of 3 pairs are judged rightly";
  EXPECT_THAT(page, HasSubstr(summary));
  EXPECT_THAT(out_, AllOf(HasSubstr("score"), HasSubstr("a blue star"), HasSubstr(summary), HasSubstr("page.html")));
  EXPECT_THAT(out_, HasSubstr(right == 3 ? "✓" : "✗"));
}

TEST_F(ImageTextCommands, PredictWritesTheVectorsOfAContrastiveModel) {
  copy_picture("a.jpg"), copy_picture("b.jpg", "blue_square");
  write_bytes(own_ / "pairs.jsonl",
              "{\"image\": \"a.jpg\", \"text\": \"a large red circle\"}\n{\"image\": \"none.jpg\", \"text\": \"x\"}\n"
              "{\"image\": \"b.jpg\", \"text\": \"a large red circle\"}\n");
  std::vector<float> before;
  for (int n : {1, 2}) {
    auto found = predict(n, itc() + " " + path("pairs.jsonl") + " --predict.embeddings " + path("new/e.safetensors"));
    ASSERT_EQ(found.size(), 3u);
    EXPECT_EQ(std::distance(fs::directory_iterator(own_ / "new"), {}), 1) << "no parts are left";
    EXPECT_TRUE(found[1].contains("error"));
    SafetensorsFile file(own_ / "new/e.safetensors");
    ASSERT_EQ(file.tensors().size(), 2u);
    std::vector<float> texts(48), images(48);
    for (const char* name : {"text_embeds", "image_embeds"})
      EXPECT_EQ(file.get(name).shape, (std::vector<int64_t>{3, 16}));
    file.read(file.get("text_embeds"), texts.data()), file.read(file.get("image_embeds"), images.data());
    for (size_t row : {0, 1, 2}) {
      double text = 0, image = 0, both = 0;
      for (size_t i = row * 16; i < row * 16 + 16; ++i)
        text += texts[i] * texts[i], image += images[i] * images[i], both += texts[i] * images[i];
      EXPECT_NEAR(text, row == 1 ? 0 : 1, 1e-5);
      EXPECT_NEAR(image, row == 1 ? 0 : 1, 1e-5);
      EXPECT_NEAR(both, found[row].value("score", 0.0), 1e-5);
    }
    for (size_t i = 0; i < 16; ++i) EXPECT_NEAR(texts[i], texts[32 + i], 1e-6) << "the text is the same";
    EXPECT_NE(std::vector<float>(images.begin(), images.begin() + 16),
              std::vector<float>(images.begin() + 32, images.end()));
    for (size_t i = 0; i < before.size(); ++i) EXPECT_NEAR(texts[i], before[i], 1e-6);
    before = texts;
  }
}

TEST_F(ImageTextCommands, PredictRefusesWhatDoesNotFit) {
  const std::string input = " " + held_out() + " --predict.output " + path("p.jsonl");
  const std::vector<std::tuple<std::string, int, std::string>> cases = {
      {itc() + input + " --predict.page " + path("p.html"), 2,
       "predict.page is for task.name = itm, and this is itc:1"},
      {itm() + input + " --predict.embeddings " + path("e"), 2,
       "predict.embeddings is for task.name = itc, and this is itm:1"},
      {itm() + input + " --task.name mlm", 2, "matches (task.name = itm) or vectors (itc), not masked tokens"},
      {itm() + input + " --task.name classification", 2, "a BridgeTower learns itm, itc or mlm"},
      {run() + input + " --task.name itm", 2, "needs an image-text model"},
      {itm() + " " + held_out() + input, 2, "an image-text model takes one captions or pairs file"},
      {itm() + input + " --predict.page " + scenes(), 2, "is a folder; name the file to write"},
      {itm() + " " + path("none.jsonl"), 3, "none.jsonl' does not exist"},
      {itm() + " " + scenes() + "/train", 3, "holds no captions.jsonl, metadata.jsonl or pairs.jsonl"},
      {itm() + input + " --task.name itc", 3, "expected the weights of"},  // its head was never trained
  };
  for (const auto& [arguments, code, sentence] : cases) {
    Result result = viaduct("predict " + arguments);
    EXPECT_EQ(result.code, code) << arguments << "\n" << result.err;
    EXPECT_THAT(result.err, HasSubstr(sentence)) << arguments;
    EXPECT_FALSE(fs::exists(own_ / "p.jsonl") && fs::file_size(own_ / "p.jsonl") > 0) << arguments;
  }
}

// Few lines, so that the disk refuses them only when they leave the program's buffer.
TEST_F(ImageTextCommands, AFullDiskLeavesTheOlderPredictions) {
  write_bytes(own_ / "p.jsonl", "older");
  Result full = shell("trap '' XFSZ; ulimit -f 0; exec \"$viaduct\" predict " + itm() + " " + held_out() +
                      " --predict.output " + path("p.jsonl"));
  EXPECT_EQ(full.code, 3);
  EXPECT_EQ(read_bytes(own_ / "p.jsonl"), "older");
}

TEST_F(ImageTextCommands, EvalSaysAccuracyOrRecall) {
  Result matching = viaduct("eval " + itm() + " --data.eval " + held_out());
  ASSERT_EQ(matching.code, 0) << matching.err;
  EXPECT_THAT(matching.out,
              AllOf(HasSubstr("images with texts of "), HasSubstr("eval_loss "), HasSubstr("eval_accuracy ")));
  std::vector<std::string> recalls;
  size_t texts = 0;
  for (const auto& row : json_lines(held_out())) texts += row["captions"].size();
  for (int n : {1, 2}) {
    Result retrieval = ranks(n, "eval " + itc() + " --data.eval " + held_out());
    ASSERT_EQ(retrieval.code, 0) << retrieval.err;
    EXPECT_THAT(retrieval.out, HasSubstr(", " + std::to_string(texts) + " images with texts of "))
        << "every text counts";
    std::string found;
    for (const char* way : {"text_to_image", "image_to_text"})
      for (const char* k : {"1", "5", "10"}) {
        std::string name = std::string("eval_") + way + "_recall@" + k + " ";
        size_t at = retrieval.out.find(name);
        ASSERT_NE(at, std::string::npos) << name << " is not in\n" << retrieval.out;
        double value = std::stod(retrieval.out.substr(at + name.size()));
        EXPECT_TRUE(value >= 0 && value <= 1) << value;
        found += std::to_string(value) + " ";
      }
    recalls.push_back(found);
  }
  EXPECT_EQ(recalls[0], recalls[1]);
}

// The run has a frozen tower; the checkpoint alone gives the same folder as the run did.
TEST_F(ImageTextCommands, ExportOfACheckpointIsTheModel) {
  for (const std::string& source : {itm(), itc()}) {
    std::string to = path("exported" + std::to_string(source == itm()));
    Result result = viaduct("export " + source + " " + to);
    ASSERT_EQ(result.code, 0) << result.err;
    std::vector<std::string> names, expected;
    for (const auto& file : fs::directory_iterator(to)) names.push_back(file.path().filename());
    for (const auto& file : fs::directory_iterator(source + "/model")) expected.push_back(file.path().filename());
    EXPECT_THAT(names, testing::UnorderedElementsAreArray(expected));
    EXPECT_THAT(names, testing::IsSupersetOf({"config.json", "model.safetensors", "preprocessor_config.json",
                                              "vocab.json", "merges.txt"}));
    for (const std::string& name : expected)
      EXPECT_EQ(read_bytes(to + "/" + name), read_bytes(source + "/model/" + name)) << name;
  }
  EXPECT_EQ(predict(1, path("exported1") + " " + held_out()), predict(1, itm() + " " + held_out()));
}

TEST_F(ImageTextCommands, BenchTellsNominalFromExecutedWork) {
  for (const std::string subject : {"train", "infer", "loader"}) {
    Result result = viaduct("bench " + subject + " " + config() +
                            " --task.name itm,mlm --task.freeze text --bench.steps 2 --bench.warmup 1 --bench.json " +
                            path("b.json"));
    ASSERT_EQ(result.code, 0) << result.err;
    auto row = json_lines(own_ / "b.json").at(0);
    EXPECT_EQ(row["subject"], subject);
    EXPECT_GT(row["samples_per_second"], 0);
    if (subject == "loader") continue;
    EXPECT_GT(row["executed_flops_per_sample"], 0);
    EXPECT_LT(row["executed_flops_per_sample"], row["flops_per_sample"]);
    EXPECT_THAT(result.out, HasSubstr("executed_flops_per_sample"));
    EXPECT_THAT(row["model"].get<std::string>(), HasSubstr("BridgeTower"));
  }
}

TEST_F(ImageTextCommands, PlanNeedsNoTokenizer) {
  Result large = viaduct(
      "plan --model.arch bridgetower --task.name itc --model.hidden_size 1024 --model.text_config.hidden_size 1024 "
      "--model.text_config.num_hidden_layers 24 --model.text_config.num_attention_heads 16 "
      "--model.text_config.intermediate_size 4096 --model.vision_config.hidden_size 1024 "
      "--model.vision_config.num_hidden_layers 24 --model.vision_config.patch_size 14 "
      "--model.vision_config.image_size 294 --data.max_text_length 50 --plan.memory_gb 40");
  ASSERT_EQ(large.code, 0) << large.err;
  EXPECT_THAT(large.out, AllOf(HasSubstr("866.61 M parameters"), HasSubstr("texts of 50 tokens"),
                               HasSubstr("largest batch in 40.0 GB: ")));
  Result given = viaduct("plan " + config() + " --task.name itm --data.train " + scenes() + " --data.tokenizer " +
                         scenes() + "/tokenizer");
  ASSERT_EQ(given.code, 0) << given.err;
  EXPECT_THAT(given.out, HasSubstr("texts of 16 tokens")) << "the longest of the data";
  Result untold = viaduct("plan --model.arch bridgetower");
  EXPECT_EQ(untold.code, 2);
  EXPECT_THAT(untold.err, HasSubstr("a BridgeTower learns itm, itc or mlm"));
}

}  // namespace
}  // namespace viaduct::test
