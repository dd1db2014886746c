// Reading, decoding, augmenting and resizing, without a model.
#include "app/bench.hpp"

namespace viaduct::app {

BenchResult bench_loader(const Invocation& call) {
  BenchSubject subject(call.config, call.comm);
  const Config& config = subject.config;
  LoaderOptions options = loader_options(config, Pass::training, subject.source, subject.texts, call.comm);
  Loader loader(subject.data, options);

  int64_t images = 0;
  auto run = [&](int64_t steps) {
    images = 0;
    auto start = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < steps * options.accumulate; ++i) images += loader.next().size();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  run(config.bench.warmup);
  call.comm.barrier();
  double seconds = run(config.bench.steps);
  double rate = 0;
  for (const std::string& text : call.comm.all_gather_text(fmt::format("{}", double(images) / seconds)))
    rate += std::stod(text);
  int lanes = std::max(options.workers, 1) * call.world.size;
  return {{.settings = {{"images", config.data.train.empty() ? "drawn" : config.data.train},
                        {"size", fmt::format("{} x {}", options.processor.height, options.processor.width)},
                        {"augment", options.augment == Augment::none ? "none" : "default"}},
           .values = {{"ranks", call.world.size},
                      {"workers", options.workers},
                      {"batch_size", double(options.batch_size)},
                      {"samples_per_second", rate},
                      {"samples_per_second_per_worker", rate / lanes}}}};
}

}  // namespace viaduct::app
