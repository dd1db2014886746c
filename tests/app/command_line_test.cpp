#include "tests/app/program.hpp"

namespace viaduct::test {
namespace {

const std::vector<std::string> kCommands = {"train", "eval",   "predict", "export", "plan",
                                            "bench", "doctor", "report",  "scenes"};

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(CommandLine, HelpIsEnoughToUseIt) {
  Result overview = viaduct("--help");
  EXPECT_EQ(overview.code, 0);
  for (const std::string& command : kCommands) {
    EXPECT_TRUE(says(overview.out, "\n  " + command + " ")) << command;
    for (const char* flag : {" --help", " -h"}) {
      Result help = viaduct(command + flag);
      EXPECT_EQ(help.code, 0) << command;
      EXPECT_TRUE(help.out.starts_with("usage: viaduct " + command)) << help.out;
      EXPECT_EQ(help.err, "") << command;
    }
  }
  EXPECT_TRUE(says(viaduct("train --help").out, "--train.lr NUMBER"));
  EXPECT_TRUE(says(viaduct("train --help").out, "[5e-05]"));
  EXPECT_FALSE(says(viaduct("train --help").out, "--predict.top_k"));
  Result once = ranks(2, "train --help");  // not once a rank
  EXPECT_EQ(once.out, viaduct("train --help").out);
}

TEST(CommandLine, RefusalsSayWhatIsWrong) {
  TempFolder folder;
  write_bytes(folder / "typo.cfg", "[train]\nlr = 1e-3\nbatchsize = 4\n");
  write_bytes(folder / "value.cfg", "[train]\n\nlr = fast\n");
  write_bytes(folder / "broken.cfg", "[train\nlr = 1\n");
  write_bytes(folder / "twice.cfg", "[train]\nlr = 1\nlr = 2\n");
  auto file = [&](const char* name) { return (folder / name).string(); };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "no command was given"},
      {"trian", "unknown command 'trian'; did you mean train?"},
      {"qqqqqqqqqq", "unknown command 'qqqqqqqqqq'; viaduct --help lists the commands"},
      {"train extra", "viaduct train does not know what to do with 'extra'"},
      {"train --run.output x", "viaduct train needs data.train: give --data.train VALUE"},
      {"train --data.train x", "viaduct train needs run.output"},
      {"train --train.learning_rate 1", "unknown key train.learning_rate (command line); did you mean train.lr?"},
      {"train --train.lrr=1", "unknown key train.lrr (command line); did you mean train.lr?"},
      {"train --verbose", "unknown key verbose (command line)"},
      {"train --train.lr", "command line:"},
      {"train --train.lr -1", "train.lr = '-1' (command line): expected a number of at least 0"},
      {"train --train.precision fp16", "expected one of fp32, bf16"},
      {"plan --task.name itn", "did you mean itm?"},
      {"plan --task.name itm", "needs an image-text model: model.arch = bridgetower"},
      {"plan --task.name distillation", "task.name = distillation (command line) needs task.teacher"},
      {"plan --task.name distillation --task.teacher big", "task.teacher: there is no folder 'big'"},
      {"plan --task.teacher big", "task.teacher = 'big' (command line): needs task.name = distillation"},
      {"plan --task.temperature 0", "task.temperature = '0' (command line): expected a number above 0"},
      {"train --data.eval 2", "expected a fraction above 0 and below 1, or a folder"},
      {"train --model.hidden_size wide", "model.hidden_size = 'wide' (command line): expected a whole number"},
      {"train --config " + file("typo.cfg"),
       "unknown key train.batchsize (" + file("typo.cfg") + ":3); did you mean train.batch_size?"},
      {"train --config " + file("value.cfg"), "train.lr = 'fast' (" + file("value.cfg") + ":3): expected a number"},
      {"train --config " + file("broken.cfg"), file("broken.cfg") + ":"},
      {"train --config " + file("twice.cfg"), "train.lr is given twice"},
      {"train --config " + file("none.cfg"), "cannot read the config file"},
      {"eval", "viaduct eval needs model.pretrained"},
      {"predict --predict.top_k 0", "expected a whole number from 1"},
      {"predict tests/golden/vit_tiny", "viaduct predict needs images"},
      {"export", "viaduct export needs two folders"},
      {"bench", "viaduct bench needs a subject"},
      {"bench trian", "unknown bench subject 'trian'; did you mean train?"},
      {"bench comm", "viaduct bench comm measures what ranks exchange"},
      {"bench kernels --model.arch bridgetower", "takes its sizes from a ViT"},
      {"report", "viaduct report needs run folders"},
      {"scenes", "viaduct scenes needs the folder"},
      {"plan --model.hidden_size 7 --model.num_attention_heads 2", "hidden_size"},
  };
  for (const auto& [arguments, sentence] : cases) {
    Result result = viaduct(arguments);
    EXPECT_EQ(result.code, 2) << arguments << "\n" << result.err;
    EXPECT_TRUE(says(result.err, sentence))
        << "viaduct " << arguments << "\nsaid: " << result.err << "expected: " << sentence;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
}

TEST(CommandLine, EveryRankRefusesAndOneSaysSo) {
  Result result = ranks(3, "train --train.lr fast");
  EXPECT_EQ(result.code, 2);
  size_t first = result.err.find("train.lr = 'fast'");
  ASSERT_NE(first, std::string::npos) << result.err;
  EXPECT_EQ(result.err.find("train.lr = 'fast'", first + 1), std::string::npos) << result.err;
}

TEST(CommandLine, WhatIsMissingIsAnInputError) {
  TempFolder folder;
  std::filesystem::create_directories(folder / "empty");
  auto path = [&](const char* name) { return (folder / name).string(); };
  for (const std::string& arguments :
       {"train --data.train " + path("none") + " --run.output " + path("run"),
        "train --data.train " + path("empty") + " --run.output " + path("run2"),
        "eval " + path("empty") + " --data.eval " + path("empty"), "export " + path("none") + " " + path("out"),
        "report " + path("none"), "plan " + path("empty")}) {
    Result result = viaduct(arguments);
    EXPECT_EQ(result.code, 3) << arguments << "\n" << result.err;
    EXPECT_TRUE(says(result.err, folder.path().string())) << arguments << "\n" << result.err;
  }
}

}  // namespace
}  // namespace viaduct::test
