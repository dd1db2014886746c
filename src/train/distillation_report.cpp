#include "train/distillation_report.hpp"

#include <chrono>

#include "core/base/log.hpp"
#include "train/evaluate.hpp"

namespace viaduct {
namespace {

// One of the two, as whoever measures a model takes it.
class Side final : public Task {
 public:
  Side(Task& student, Teacher* teacher) : student_(student), teacher_(teacher) {}
  ParameterStore& parameters() override { return student_.parameters(); }
  void train(Ctx&, const Batch&, GradSink&) override { expect(false, "a finished model is only looked at"); }
  void evaluate(Ctx& ctx, const Batch& batch, Metrics& metrics) override {
    teacher_ ? teacher_->evaluate(ctx, batch, metrics) : student_.evaluate(ctx, batch, metrics);
  }
  Tensor predict(Ctx& ctx, const Batch& batch) override {
    return teacher_ ? teacher_->predict(ctx, batch) : student_.predict(ctx, batch);
  }
  Batch blank_batch(Device device, int64_t samples) const override { return student_.blank_batch(device, samples); }
  double flops(bool, bool) const override {
    return teacher_ ? teacher_->model().flops(false) : student_.flops(false, false);
  }

 private:
  Task& student_;
  Teacher* teacher_;
};

double images_per_second(Side& side, Engine& engine, Communicator& comm) {
  constexpr int kPasses = 6;  // the first is not counted: caches are cold
  Workspace& work = engine.work();
  const Batch batch = engine.task().blank_batch(engine.device(), engine.batch_size());
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    comm.barrier();
    const auto start = std::chrono::steady_clock::now();
    auto scope = work.arena.scope("infer");
    side.predict(work.ctx, batch);
    work.stream.synchronize();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (pass > 0) best = std::max(best, double(batch.size()) / seconds);
  }
  double sum = 0;
  for (const std::string& text : comm.all_gather_text(fmt::format("{}", best))) sum += std::stod(text);
  return sum;
}

// What a rank needs to answer a batch: weights and activations.
int64_t inference_memory(const ModelSource& source, Engine& engine) {
  const StepShape shape{.batch_size = engine.batch_size(),
                        .dtype = engine.task().parameters().dtype(),
                        .device = engine.device().kind,
                        .training = false};
  const MemoryPlan plan = plan_memory(
      [&] { return std::make_unique<ClassificationTask>(vit(source.config), source.normalization(), VitOptions{}); },
      shape);
  return plan.parameters + plan.packed + plan.activations;
}

// The student without what it had for learning only.
int64_t parameters_of(const ModelSource& source) {
  return ClassificationTask(vit(source.config), source.normalization(), {}).parameters().count();
}

}  // namespace

std::map<std::string, double> compare_with_teacher(Engine& engine, std::optional<Loader>& eval, Communicator& comm) {
  Teacher& teacher = *engine.teacher();
  std::map<std::string, double> all;
  log::info("{:<8} {:>12} {:>12} {:>12} {:>12} {:>10} {:>10}", "", "parameters", "GFLOP/image", "MB", "images/s",
            "eval_loss", "accuracy");
  for (bool taught : {false, true}) {
    const std::string name = taught ? "student" : "teacher";
    const ModelSource& source = taught ? engine.source() : teacher.source();
    Side side(engine.task(), taught ? nullptr : &teacher);
    std::map<std::string, double> m{{"parameters", double(parameters_of(source))},
                                    {"flops_per_image", side.flops(false, false)},
                                    {"inference_memory_bytes", double(inference_memory(source, engine))},
                                    {"images_per_second", images_per_second(side, engine, comm)}};
    std::string measured = fmt::format("{:>10} {:>10}", "-", "-");
    if (eval) {
      if (eval->done()) eval->restart();
      const auto found = evaluate(side, engine.work(), engine.upload(), *eval, comm);
      m["eval_loss"] = found.at("eval_loss"), m["eval_accuracy"] = found.at("eval_accuracy");
      measured = fmt::format("{:>10.4f} {:>10.4f}", m["eval_loss"], m["eval_accuracy"]);
    }
    log::info("{:<8} {:>12.0f} {:>12.4f} {:>12.2f} {:>12.1f} {}", name, m["parameters"], m["flops_per_image"] / 1e9,
              m["inference_memory_bytes"] / 1e6, m["images_per_second"], measured);
    for (const auto& [key, value] : m) all[name + "_" + key] = value;
  }
  if (const TeacherCache* cache = teacher.cache())
    log::info("teacher's answers found in the cache: {} of {}", cache->found(), cache->asked());
  return all;
}

}  // namespace viaduct
