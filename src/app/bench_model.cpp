// Steps of training and of inference, against the rate of plain matrix products.
#include <omp.h>

#include "app/bench.hpp"
#include "app/host_info.hpp"
#include "comm/grad_sync.hpp"
#include "train/host_memory.hpp"
#include "train/metrics_log.hpp"
#include "train/step_cut.hpp"
#include "train/trainer.hpp"

namespace viaduct::app {
namespace {

double sum_over_ranks(Communicator& comm, double value) {
  double sum = 0;
  for (const std::string& text : comm.all_gather_text(fmt::format("{}", value))) sum += std::stod(text);
  return sum;
}
double largest_over_ranks(Communicator& comm, double value) {
  double largest = value;
  for (const std::string& text : comm.all_gather_text(fmt::format("{}", value)))
    largest = std::max(largest, std::stod(text));
  return largest;
}

// All ranks at once, as in the steps; of all ranks together.
double products_of_all(const Invocation& call) {
  call.comm.barrier();
  ProductRate rate = measure_products();
  return sum_over_ranks(call.comm, call.config.train.precision == "bf16" && rate.bf16 > 0 ? rate.bf16 : rate.fp32);
}

BenchRow describe(const Invocation& call, const ModelSource& source, Engine& engine) {
  const Config& c = call.config;
  return {
      .settings = {{"model", fmt::format("{}, {} x {} pixels, {:.1f} M parameters", viaduct::describe(source.config),
                                         source.processor.width, source.processor.height,
                                         double(engine.parameter_count()) / 1e6)},
                   {"images", c.data.train.empty() ? "drawn" : c.data.train},
                   {"precision", c.train.precision},
                   {"strategy", c.parallel.strategy}},
      .values = {
          {"ranks", call.world.size}, {"threads", omp_get_max_threads()}, {"batch_size", double(step_cut(c).samples)}}};
}

// What both benchmarks say of their rate; `images` a step of all ranks. Operations are those that the published model
// needs for a sample; what is executed here may be less.
void add_rates(BenchRow& row, const Invocation& call, Task& task, bool training, StepTimes times, double images,
               double products) {
  const double flops_of_image = task.flops(training, false);
  double rate = images / times.median;
  row.values.insert(row.values.end(), {{"samples_per_second", rate},
                                       {"best_samples_per_second", images / times.best},
                                       {"step_seconds", times.median},
                                       {"flops_per_sample", flops_of_image},
                                       {"executed_flops_per_sample", task.flops(training, true)},
                                       {"flops_per_second", rate * flops_of_image},
                                       {"product_flops_per_second", products},
                                       {"product_share", rate * flops_of_image / products},
                                       {"best_product_share", images / times.best * flops_of_image / products},
                                       {"peak_memory_bytes", largest_over_ranks(call.comm, double(peak_memory()))}});
}

class StepWatch final : public Observer {
 public:
  explicit StepWatch(int64_t warmup) : warmup_(warmup) {}
  void stepped(const StepReport& r) override {
    if (r.step <= warmup_) return;
    seconds.push_back(r.seconds);
    window.add(r);
  }
  std::vector<double> seconds;
  StepWindow window;

 private:
  int64_t warmup_;
};

}  // namespace

BenchResult bench_train(const Invocation& call) {
  BenchSubject subject(call.config, call.comm);
  const Config& config = subject.config;
  ModelSource& source = subject.source;
  DatasetPtr data = subject.data;
  double products = products_of_all(call);
  Engine engine(source, config, true, call.comm);
  engine.load_weights(uint64_t(config.train.seed));
  auto sync =
      make_grad_sync(grad_sync_options(config, source.choice, call.comm.size()), engine.task().parameters(), call.comm);
  Loader loader(data, loader_options(config, Pass::training, source, subject.texts, call.comm, engine.device()));
  int64_t images = loader.plan().global_batch();
  if (data->size() < images)
    fail_input(fmt::format("{} has {} images, a step takes {}: a smaller train.batch_size", config.data.train,
                           data->size(), images));
  PhaseClock clock;
  StepWatch watch(config.bench.warmup);
  TrainerOptions options{.total_steps = config.bench.warmup + config.bench.steps,
                         .accumulate = step_cut(config).passes,
                         .graph = config.device.graph,
                         .learning_rate = config.train.lr,
                         .clip_norm = config.train.clip_norm,
                         .schedule{.name = "constant"}};
  Trainer(engine.task(), *sync, engine.optimizer(), loader, engine.upload(), engine.work(), clock, options, {},
          {&watch})
      .run();

  products = std::max(products, products_of_all(call));
  BenchRow row = describe(call, source, engine);
  StepTimes times = step_times(watch.seconds);
  add_rates(row, call, engine.task(), true, times, double(images), products);
  StepReport mean = watch.window.take();
  double all = mean.seconds;
  row.values.insert(row.values.end(), {{"accumulate", double(step_cut(config).passes)},
                                       {"planned_memory_bytes", double(engine.plan().total())},
                                       {"data_share", mean.data_seconds / all}});
  if (engine.device().is_cuda())
    row.values.emplace_back("device_share", mean.device_seconds / all);
  else
    row.values.insert(row.values.end(), {{"forward_share", mean.forward_seconds / all},
                                         {"backward_share", mean.backward_seconds / all},
                                         {"comm_share", mean.comm_seconds / all},
                                         {"optimizer_share", mean.optimizer_seconds / all}});
  return {std::move(row)};
}

BenchResult bench_infer(const Invocation& call) {
  BenchSubject subject(call.config, call.comm);
  const Config& config = subject.config;
  ModelSource& source = subject.source;
  DatasetPtr data = subject.data;
  double products = products_of_all(call);
  Engine engine(source, config, false, call.comm);
  engine.load_weights(uint64_t(config.train.seed));
  LoaderOptions loading =
      loader_options(config, Pass::training, source, subject.texts, call.comm, engine.device());  // endless
  loading.augment = Augment::none, loading.accumulate = 1;
  Loader loader(data, loading);

  Ctx& ctx = engine.work().ctx;
  std::vector<double> seconds;
  double waited = 0;
  for (int64_t step = 0; step < config.bench.warmup + config.bench.steps; ++step) {
    call.comm.barrier();
    double waited_before = loader.seconds_waiting();
    auto start = std::chrono::steady_clock::now();
    Batch batch = loader.next();
    if (batch.size() < loading.batch_size) continue;  // the end of an epoch
    auto scope = ctx.arena.scope("infer");
    engine.task().infer(ctx, engine.upload()(std::move(batch), ctx.stream));
    ctx.stream.synchronize();
    if (step < config.bench.warmup) continue;
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    waited += loader.seconds_waiting() - waited_before;
  }
  if (seconds.empty())
    fail_input("no whole batch was measured: more images, a smaller train.batch_size or more bench.steps");
  products = std::max(products, products_of_all(call));
  BenchRow row = describe(call, source, engine);
  double all = 0;
  for (double s : seconds) all += s;
  add_rates(row, call, engine.task(), false, step_times(seconds), double(loading.batch_size * call.world.size),
            products);
  row.values.insert(row.values.end(),
                    {{"planned_memory_bytes", double(engine.plan().total())}, {"data_share", waited / all}});
  return {std::move(row)};
}

}  // namespace viaduct::app
