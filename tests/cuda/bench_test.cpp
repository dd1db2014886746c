// Benchmarks of single ops, and what doctor measures, on a cuda device and in tiny sizes.
#include <set>

#include "app/commands.hpp"
#include "app/doctor_gpu.hpp"
#include "comm/self_comm.hpp"
#include "tests/app/program.hpp"

namespace viaduct::test {
namespace {

std::vector<nlohmann::json> bench(const std::string& subject, const std::string& precision) {
  TempFolder folder;
  const std::string json = (folder / "bench.json").string();
  SelfComm comm;
  std::vector<std::string> arguments{"bench",        subject, "--device.kind", "cuda", "--train.precision", precision,
                                     "--bench.json", json};
  for (const char* tiny : {"--model.hidden_size", "64", "--model.num_hidden_layers", "1", "--model.num_attention_heads",
                           "1", "--model.intermediate_size", "64", "--model.image_size", "16", "--model.patch_size",
                           "8", "--train.batch_size", "2", "--bench.steps", "1", "--bench.warmup", "0"})
    arguments.push_back(tiny);
  EXPECT_EQ(app::run_command(arguments, World{}, comm), 0);
  return json_lines(json);
}

class CudaBench : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Precision, CudaBench, testing::Values("fp32", "bf16"),
                         [](auto& info) { return std::string(info.param); });

TEST_P(CudaBench, MeasuresEveryOp) {
  const std::map<std::string, std::set<std::string>> expected{
      {"kernels",
       {"layer_norm", "layer_norm_backward", "gelu", "gelu_backward", "add", "dropout", "cross_entropy", "patchify",
        "adamw", "squared_norm"}},
      {"attention", {"attention", "attention_backward"}},
      {"gemm",
       {"qkv", "qkv_input_grad", "qkv_weight_grad", "output", "output_input_grad", "output_weight_grad", "up",
        "up_input_grad", "up_weight_grad", "down", "down_input_grad", "down_weight_grad"}}};
  for (const auto& [subject, ops] : expected) {
    std::set<std::string> measured;
    for (const auto& row : bench(subject, GetParam())) {
      measured.insert(row["op"]);
      EXPECT_EQ(row["subject"], subject);
      EXPECT_EQ(row["precision"], GetParam());
      for (const char* key : {"seconds", "best_seconds", "bytes", "bytes_per_second", "roof_share",
                              "copy_bytes_per_second", "product_flops_per_second"})
        EXPECT_GT(row[key], 0) << row;
      EXPECT_EQ(row["flops"] > 0, subject != "kernels") << row;
      const double least = std::max(double(row["bytes"]) / double(row["copy_bytes_per_second"]),
                                    double(row["flops"]) / double(row["product_flops_per_second"]));
      EXPECT_NEAR(double(row["roof_share"]), least / double(row["seconds"]), 1e-9 * double(row["roof_share"]));
    }
    EXPECT_EQ(measured, ops);
  }
}

TEST(CudaDoctor, MeasuresTheGpuOfTheRank) {
  Config config;
  app::Findings found;
  app::GpuFacts facts = app::gpu_facts(World{}, config);
  ASSERT_FALSE(facts.gpus.empty()) << facts.why;
  app::judge_gpus(facts, found);
  app::measure_gpu(facts, found);
  EXPECT_EQ(found.problems, 0) << found.text;
  for (const char* part : {"compute capability", "GB/s, read and written", "TFLOP/s in bf16, matrices of"})
    EXPECT_NE(found.text.find(part), std::string::npos) << part << "\n" << found.text;

  app::Findings cpu;
  facts.kind = "cpu";
  app::measure_gpu(facts, cpu);
  EXPECT_EQ(cpu.text, "");
}

}  // namespace
}  // namespace viaduct::test
