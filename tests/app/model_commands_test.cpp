// eval, predict and export of the tiny run; plan, bench, doctor and report.
#include <cmath>
#include <set>

#include "tests/app/program.hpp"

namespace viaduct::test {
namespace {
namespace fs = std::filesystem;

class ModelCommands : public ProgramTest {
 protected:
  std::string path(const std::string& name) const { return (own_ / name).string(); }
  // "eval_loss   0.25" as eval prints it.
  static double value_of(const std::string& text, const std::string& name) {
    size_t at = text.find(name + " ");
    return at == std::string::npos ? NAN : std::stod(text.substr(at + name.size()));
  }
};

TEST_F(ModelCommands, EvalIsTheSameForAnyNumberOfRanks) {
  double loss = NAN;
  for (const auto& line : json_lines(run() + "/metrics.jsonl"))
    if (line.contains("eval_loss")) loss = line["eval_loss"];
  for (int n : {1, 2, 3}) {
    Result result = ranks(n, "eval " + run() + " --data.eval " + scenes() + "/eval --train.batch_size 5");
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_NEAR(value_of(result.out, "eval_loss"), loss, 1e-5 * loss) << result.out;
    EXPECT_GE(value_of(result.out, "eval_accuracy"), 0) << result.out;
    EXPECT_GT(value_of(result.out, "eval_samples_per_second"), 0) << result.out;
  }
  fs::create_directories(own_ / "other/unknown class");
  fs::copy(*fs::directory_iterator(scenes() + "/eval/red_circle"), own_ / "other/unknown class/a.jpg");
  Result other = viaduct("eval " + run() + " --data.eval " + path("other"));
  EXPECT_EQ(other.code, 3) << other.err;
  EXPECT_NE(other.err.find("unknown class"), std::string::npos) << other.err;
}

// Good and bad files in folders, more than one exchange between the ranks, fewer than there are ranks at the end.
TEST_F(ModelCommands, PredictSaysEveryImageOnceInOrder) {
  fs::create_directories(own_ / "images/deep");
  std::vector<fs::path> pictures;
  for (const auto& entry : fs::recursive_directory_iterator(scenes() + "/train"))
    if (entry.is_regular_file()) pictures.push_back(entry.path());
  for (size_t i = 0; i < 70; ++i)
    fs::copy(pictures[i], own_ / (std::string(i % 2 ? "images/" : "images/deep/") + std::to_string(i) + ".jpg"));
  write_bytes(own_ / "images/empty.jpg", "");
  write_bytes(own_ / "images/A text.png", "no picture");
  write_bytes(own_ / "images/deep/cut \"short\".jpg", read_bytes(pictures[0]).substr(0, 200));
  std::set<std::string> bad = {"empty.jpg", "A text.png", "deep/cut \"short\".jpg"}, expected = bad;
  for (size_t i = 0; i < 70; ++i) expected.insert((i % 2 ? "" : "deep/") + std::to_string(i) + ".jpg");

  std::vector<nlohmann::json> alone;
  for (int n : {1, 2, 3}) {
    Result result = ranks(n, "predict " + run() + " " + path("images") + " --predict.output " + path("out/p.jsonl") +
                                 " --predict.top_k 3 --predict.logits true --train.batch_size 1");
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_NE(result.err.find("73 images, 3 of them unreadable"), std::string::npos) << result.err;
    EXPECT_EQ(std::distance(fs::directory_iterator(own_ / "out"), {}), 1);  // no parts are left
    auto lines = json_lines(own_ / "out/p.jsonl");
    ASSERT_EQ(lines.size(), expected.size());
    auto id = expected.begin();  // std::set orders by bytes, as the contract does
    for (const auto& line : lines) {
      EXPECT_EQ(line["id"], *id++);
      EXPECT_EQ(line.contains("error"), bad.contains(line["id"])) << line;
      if (line.contains("error")) continue;
      ASSERT_EQ(line["labels"].size(), 3u);
      EXPECT_EQ(line["logits"].size(), 12u);
      EXPECT_GE(line["scores"][0], line["scores"][1]);
    }
    if (n == 1) alone = lines;
    for (size_t i = 0; i < lines.size(); ++i)
      EXPECT_EQ(lines[i]["labels"], alone[i]["labels"]) << n << " ranks: " << lines[i];
  }
}

TEST_F(ModelCommands, PredictScoresAreASoftmaxOfTheLogits) {
  std::string image = fs::directory_iterator(scenes() + "/eval/red_circle")->path().string();
  Result result = viaduct("predict " + run() + " " + image + " --predict.output " + path("one.jsonl") +
                          " --predict.logits true --predict.top_k 100");
  ASSERT_EQ(result.code, 0) << result.err;
  auto line = json_lines(own_ / "one.jsonl").at(0);
  ASSERT_EQ(line["scores"].size(), 12u);  // top_k above the number of classes: all of them
  auto labels = nlohmann::json::parse(read_bytes(run() + "/model/config.json"))["label2id"];
  double sum = 0, total = 0;
  for (double logit : line["logits"]) sum += std::exp(logit);
  for (size_t k = 0; k < 12; ++k) {
    size_t label = labels[line["labels"][k].get<std::string>()];
    EXPECT_NEAR(line["scores"][k], std::exp(line["logits"][label].get<double>()) / sum, 1e-6);
    total += line["scores"][k].get<double>();
  }
  EXPECT_NEAR(total, 1, 1e-6);
}

TEST_F(ModelCommands, PredictOfNothingReadableFails) {
  fs::create_directories(own_ / "empty");
  EXPECT_EQ(viaduct("predict " + run() + " " + path("empty")).code, 3);
  write_bytes(own_ / "empty/a.jpg", "text");
  Result bad = ranks(2, "predict " + run() + " " + path("empty") + " --predict.output " + path("p.jsonl"));
  EXPECT_EQ(bad.code, 3) << bad.err;
  ASSERT_EQ(json_lines(own_ / "p.jsonl").size(), 1u);
  EXPECT_TRUE(json_lines(own_ / "p.jsonl")[0].contains("error"));
  EXPECT_EQ(viaduct("predict " + run() + " " + scenes() + "/eval --predict.output " + path("empty")).code, 2);
}

TEST_F(ModelCommands, ExportOfACheckpointIsTheModel) {
  for (const std::string& source : {run(), run() + "/checkpoints/step-00000012"}) {
    std::string to = path("exported" + std::to_string(source.size()));
    Result result = viaduct("export " + source + " " + to);
    ASSERT_EQ(result.code, 0) << result.err;
    for (const char* name : {"config.json", "model.safetensors", "preprocessor_config.json"})
      EXPECT_EQ(read_bytes(to + "/" + name), read_bytes(run() + "/model/" + name)) << name;
    EXPECT_EQ(viaduct("export " + source + " " + to).code, 2);  // it exists now
  }
}

TEST_F(ModelCommands, PlanCountsViTBase) {
  Result result = viaduct("plan --plan.memory_gb 4");
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("85.80 M parameters"), std::string::npos) << result.out;  // 85,800,194 with two classes
  EXPECT_NE(result.out.find("35.13 in inference"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("  in block backward "), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("largest batch in 4.0 GB: "), std::string::npos) << result.out;
  EXPECT_EQ(viaduct("plan " + run()).code, 0);
}

TEST_F(ModelCommands, AnAutomaticBatchIsForTrainingAndItsPlan) {
  Result plan = viaduct("plan --plan.memory_gb 2 --train.batch_size auto " + run());
  ASSERT_EQ(plan.code, 0) << plan.err;
  EXPECT_EQ(plan.out.find("training, 0 images a pass"), std::string::npos) << plan.out;
  Result eval = viaduct("eval " + run() + " --train.batch_size auto --data.eval " + scenes() + "/eval");
  EXPECT_EQ(eval.code, 2);
  EXPECT_NE(eval.err.find("train.batch_size = auto is for viaduct train and plan"), std::string::npos) << eval.err;
}

TEST_F(ModelCommands, BenchWritesWhatItPrints) {
  for (const std::string subject : {"train", "infer", "loader"}) {
    Result result = ranks(
        2, "bench " + subject + " " + tiny() + " --bench.steps 3 --bench.warmup 1 --bench.json " + path("b.json"));
    ASSERT_EQ(result.code, 0) << result.err;
    auto row = json_lines(own_ / "b.json").at(0);
    EXPECT_EQ(row["subject"], subject);
    EXPECT_EQ(row["ranks"], 2);
    EXPECT_GT(row["samples_per_second"], 0);
    EXPECT_NE(result.out.find("samples_per_second"), std::string::npos);
    if (subject == "loader") continue;
    for (const char* key : {"peak_memory_bytes", "product_flops_per_second", "flops_per_sample", "product_share"})
      EXPECT_GT(row[key], 0) << key;
    double shares = 0;
    if (subject != "train") continue;
    for (const char* key : {"data_share", "forward_share", "backward_share", "comm_share", "optimizer_share"})
      shares += row[key].get<double>();
    EXPECT_LE(shares, 1.01);
    EXPECT_GT(shares, 0.5);
  }
}

// Each op with its time and its share of what bounds it; tests/cuda does the same on a GPU.
TEST_F(ModelCommands, BenchMeasuresSingleOps) {
  const std::string few = " --bench.steps 2 --bench.warmup 0 --bench.json " + path("b");
  for (const auto& [subject, ops] : std::map<std::string, size_t>{{"kernels", 10}, {"attention", 2}, {"gemm", 12}}) {
    Result result = viaduct("bench " + subject + " " + tiny() + few);
    ASSERT_EQ(result.code, 0) << result.err;
    auto rows = json_lines(own_ / "b");
    EXPECT_EQ(rows.size(), ops);
    for (const auto& row : rows) {
      EXPECT_EQ(row["subject"], subject);
      EXPECT_EQ(row["device"], "cpu");
      EXPECT_EQ(row["batch_size"], 4);  // of the config; 64 where nobody says
      for (const char* key : {"seconds", "bytes_per_second", "roof_share"}) EXPECT_GT(row[key], 0) << row;
      EXPECT_NE(result.out.find(row["op"].get<std::string>() + " "), std::string::npos) << result.out;
    }
  }
  Result two = ranks(2, "bench gemm " + tiny() + few);
  EXPECT_EQ(two.code, 2);
  EXPECT_NE(two.err.find("measured by one rank"), std::string::npos) << two.err;
}

TEST_F(ModelCommands, BenchOfTheCommunicatorHasARowForEverySize) {
  Result result = ranks(2, "bench comm --bench.steps 2 --bench.warmup 1 --bench.json " + path("b.json"));
  ASSERT_EQ(result.code, 0) << result.err;
  auto rows = json_lines(own_ / "b.json");
  ASSERT_EQ(rows.size(), 8u);
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i]["bytes"], 4096 << (2 * i));
    EXPECT_NEAR(rows[i]["bus_bytes_per_second"].get<double>(), rows[i]["algorithm_bytes_per_second"].get<double>(), 1)
        << "of two ranks they are the same";
    for (const char* key : {"seconds", "mpi_allreduce_seconds", "memory_bytes_per_second", "best_memory_share"})
      EXPECT_GT(rows[i][key], 0) << key;
  }
}

TEST_F(ModelCommands, DoctorSpeaksForEveryRank) {
  Result result = ranks(2, "doctor");
  bool well = result.out.find("no problems found") != std::string::npos;
  EXPECT_EQ(result.code, well ? 0 : 2) << result.out << result.err;
  for (const char* part : {"rank 0\n", "rank 1\n", "rank 1 of 2", "GFLOP/s in fp32", "all-reduce", "gpu "})
    EXPECT_NE(result.out.find(part), std::string::npos) << part;
}

TEST_F(ModelCommands, DoctorOfTheLaunchSaysWhereTheRanksAre) {
  Result good = viaduct("doctor launch");
  EXPECT_EQ(good.code, 0) << good.out << good.err;
  for (const char* part : {"rank 0 of 1", "launcher", "none: one rank", "cores ", "no problems found"})
    EXPECT_NE(good.out.find(part), std::string::npos) << part << good.out;
  EXPECT_EQ(good.out.find("GFLOP/s"), std::string::npos) << "that takes a while";
  EXPECT_EQ(viaduct("doctor lunch").code, 2);
}

// Two ranks on one core: said by doctor, and in a line of every command that runs a model.
TEST_F(ModelCommands, RanksThatShareACoreAreNoticed) {
  const std::string bound =
      "core=$(taskset -cp $$ | sed 's/.*: \\([0-9]*\\).*/\\1/')\nexec taskset -c $core $mpirun 2 \"$viaduct\" ";
  Result doctor = shell(bound + "doctor launch");
  EXPECT_EQ(doctor.code, 2) << doctor.out << doctor.err;
  EXPECT_NE(doctor.out.find("PROBLEM        2 ranks on "), std::string::npos) << doctor.out;
  EXPECT_NE(doctor.out.find("\n  mpirun -np "), std::string::npos) << doctor.out;
  EXPECT_NE(doctor.out.find("1 problems"), std::string::npos) << doctor.out;
  Result eval = shell(bound + "eval " + run() + " --data.eval " + scenes() + "/eval");
  EXPECT_EQ(eval.code, 0) << eval.err;
  EXPECT_NE(eval.err.find("warning: 2 ranks on "), std::string::npos) << eval.err;
  EXPECT_NE(eval.err.find("eval " + run() + " --data.eval "), std::string::npos) << "the line to use instead\n"
                                                                                 << eval.err;
}

TEST_F(ModelCommands, ReportIsALineARun) {
  Result result = viaduct("report " + run() + " --report.output " + (own_ / "page.html").string());
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 2);
  EXPECT_NE(result.out.find("completed"), std::string::npos) << result.out;
  const std::string page = read_bytes(own_ / "page.html");
  for (const char* part : {"Loss", "Held-out accuracy", "Where the time of a step goes", "Memory of a rank", "bound by",
                           "<code>train_samples_per_second</code>", "<code>data.train</code>"})
    EXPECT_NE(page.find(part), std::string::npos) << part;
  EXPECT_EQ(result.err.find("missing"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace viaduct::test
