// A student from the command line: two ranks learn from the shared run's model.
#include "tests/app/program.hpp"

namespace viaduct::test {
namespace {

class DistillationProgram : public ProgramTest {
 protected:
  std::string student() { return tiny() + " --task.name distillation --task.teacher " + run(); }
  std::string path(const char* name) { return (own_ / name).string(); }
};

TEST_F(DistillationProgram, TrainsAStudentThatOtherCommandsTake) {
  const std::string small =
      " --model.hidden_size 12 --model.intermediate_size 16 --task.losses label:0.5,soft:0.5,feature:0.1";
  Result trained = ranks(2, "train " + student() + small + " --run.output " + path("student"));
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_NE(trained.err.find("teacher: ViT, 2 layers of 24"), std::string::npos) << trained.err;
  const auto end = json_lines(own_ / "student/metrics.jsonl").back();
  EXPECT_GT(double(end["teacher_parameters"]), double(end["student_parameters"]));
  Result evaluated = viaduct("eval " + path("student") + " --data.eval " + scenes() + "/eval");
  ASSERT_EQ(evaluated.code, 0) << evaluated.err;
  EXPECT_NE(evaluated.out.find("eval_accuracy"), std::string::npos);
  Result exported = viaduct("export " + path("student") + " " + path("exported"));
  ASSERT_EQ(exported.code, 0) << exported.err;
  EXPECT_EQ(read_bytes(own_ / "exported/model.safetensors"), read_bytes(own_ / "student/model/model.safetensors"));
}

TEST_F(DistillationProgram, ThePlanHasTheTeacher) {
  Result plan = viaduct("plan " + student());
  ASSERT_EQ(plan.code, 0) << plan.err;
  EXPECT_NE(plan.out.find("  teacher  "), std::string::npos) << plan.out;
}

TEST_F(DistillationProgram, AnExportedDeitKeepsItsHeads) {
  Result trained = viaduct("train " + student() + " --task.distillation_token true --task.cache " + path("cache") +
                           " --run.output " + path("deit"));
  ASSERT_EQ(trained.code, 0) << trained.err;
  Result exported = viaduct("export " + path("deit") + " " + path("exported"));
  ASSERT_EQ(exported.code, 0) << exported.err;
  EXPECT_EQ(read_bytes(own_ / "exported/model.safetensors"), read_bytes(own_ / "deit/model/model.safetensors"));
  Result predicted =
      viaduct("predict " + path("deit") + " " + scenes() + "/eval --predict.output " + path("out.jsonl"));
  EXPECT_EQ(predicted.code, 0) << predicted.err;
}

}  // namespace
}  // namespace viaduct::test
