// What doctor says of the GPUs that were found, or were not.
#include "app/doctor_gpu.hpp"

#include <gtest/gtest.h>

#include "app/device_rates.hpp"

namespace viaduct::app {
namespace {

Gpu hopper() {
  return {.name = "NVIDIA H100",
          .major = 9,
          .multiprocessors = 132,
          .memory_bytes = 80'000'000'000,
          .free_bytes = 79'000'000'000,
          .driver = "13.1",
          .runtime = "13.0"};
}
GpuFacts with(std::vector<Gpu> gpus) {
  return {.built_with_cuda = true, .driver_files = true, .gpus = std::move(gpus)};
}
Findings judged(const GpuFacts& facts) {
  Findings found;
  judge_gpus(facts, found);
  return found;
}
bool says(const Findings& found, const std::string& part) { return found.text.find(part) != std::string::npos; }

TEST(DoctorGpu, DescribesOne) {
  Findings found = judged(with({hopper()}));
  EXPECT_EQ(found.problems, 0) << found.text;
  for (const char* part : {"0: NVIDIA H100", "compute capability 9.0", "132 multiprocessors", "80.0 GB", "79.0 GB free",
                           "driver serves CUDA 13.1", "built with 13.0"})
    EXPECT_TRUE(says(found, part)) << part << "\n" << found.text;
}

// None is a fact where nobody expects one, and a problem where it was asked for or the host has a driver.
TEST(DoctorGpu, NoneIsAProblemWhereOneIsExpected) {
  struct Case {
    const char* kind;
    bool driver_files;
    int problems;
  };
  for (const Case& c : {Case{"auto", false, 0}, {"auto", true, 1}, {"cuda", false, 1}, {"cpu", true, 0}}) {
    Findings found = judged({.driver_files = c.driver_files, .kind = c.kind, .why = "no NVIDIA driver was found"});
    EXPECT_EQ(found.problems, c.problems) << c.kind << "\n" << found.text;
    EXPECT_TRUE(says(found, "no NVIDIA driver was found")) << found.text;
  }
}

TEST(DoctorGpu, AnOldOneIsAProblemUnlessTheCpuComputes) {
  Gpu old = hopper();
  old.index = 1, old.major = 7, old.minor = 5;
  GpuFacts facts = with({hopper(), old});
  Findings found = judged(facts);
  EXPECT_EQ(found.problems, 1);
  EXPECT_TRUE(says(found, "GPU 1 has compute capability 7.5, Viaduct needs 8.0")) << found.text;
  EXPECT_TRUE(says(found, "CUDA_VISIBLE_DEVICES")) << found.text;
  facts.kind = "cpu";
  EXPECT_EQ(judged(facts).problems, 0);
  facts.kind = "auto", facts.local_rank = 1;
  measure_gpu(facts, found);  // would fail to start it
  EXPECT_EQ(found.problems, 1) << found.text;
}

TEST(DoctorGpu, TheSideOfTheProductFitsTheMemory) {
  EXPECT_EQ(side_that_fits(int64_t(80) << 30), 8192);
  EXPECT_EQ(side_that_fits(int64_t(2) << 30), 4096);  // 32 bytes an element in three quarters of it
  EXPECT_EQ(side_that_fits(0), 1);
}

}  // namespace
}  // namespace viaduct::app
