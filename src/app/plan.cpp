#include <algorithm>

#include "app/forecast.hpp"
#include "app/setup.hpp"
#include "core/device/gpus.hpp"
#include "train/batch_choice.hpp"
#include "train/device_choice.hpp"
#include "train/host_memory.hpp"

namespace viaduct::app {
namespace {

void print_row(const char* name, int64_t bytes, const char* note = "") {
  if (bytes) fmt::print("  {:<24} {:>10.1f} MB  {}\n", name, double(bytes) / 1e6, note);
}

// Which parts of the step hold the activations, of both kinds, when they take most; largest first.
void print_scopes(const MemoryPlan& plan) {
  std::vector<std::pair<int64_t, std::string>> shares;
  for (const auto& [scope, bytes] : plan.scopes)
    if (bytes > plan.activations / 1000) shares.emplace_back(bytes, "  in " + scope);
  std::sort(shares.rbegin(), shares.rend());
  for (const auto& [bytes, scope] : shares) print_row(scope.c_str(), bytes);
}

void print_plan(const MemoryPlan& plan, const char* title) {
  fmt::print("\n{}\n", title);
  print_row("parameters", plan.parameters);
  print_row("teacher", plan.teacher, "weights alone");
  print_row("gradients", plan.gradients);
  print_row("optimizer", plan.optimizer, "AdamW: two moments, and fp32 values where training is in bf16");
  print_row("packed weights", plan.packed, "a copy in the layout of the products");
  print_row("activations kept", plan.kept, "until backward");
  print_row("activations temporary", plan.temporary);
  print_scopes(plan);
  print_row("step", plan.step, "the batch that is worked on");
  print_row("batches", plan.batches, "decoded images waiting, in host memory");
  print_row("in all", plan.total());
}

Exit run(const Invocation& call) {
  Config config = call.config;
  if (!call.subjects.empty()) config = with_model(call, "plan");
  const TaskChoice choice = resolve_task(config);
  std::vector<std::string> classes;
  const bool given = !config.data.train.empty();
  if (given && choice.classifies()) classes = open_labelled(config.data.train, Split::train)->classes();
  ModelSource source = resolve_model(config, classes, given ? Tokens::needed : Tokens::not_needed);
  if (given && !choice.classifies()) {
    TrainEval data = open_data(config, choice);
    fit_to_texts(source, config, {data.train, data.eval}, call.comm);
  }
  settle(call);  // as training does: scratch memory of attention and the number of workers depend on the threads
  const Device device = choose_device(config, call.comm, true);
  if (call.world.rank != 0) return Exit::ok;
  const std::vector<int64_t> wanted = planned_ranks(config);
  const int ranks = int(wanted[0]);
  auto memory = config.plan.memory_gb > 0 ? std::optional(int64_t(config.plan.memory_gb * 1e9))
                : device.is_cuda()        ? std::optional(gpu(device.index).free_bytes)
                                          : available_memory();
  if (config.train.batch_size == 0) {
    if (!memory)
      fail_config("train.batch_size = auto: this host does not say how much memory is free; give plan.memory_gb");
    config.train.batch_size = largest_planned_batch(config, source, device.kind, 0, ranks, *memory);
    if (config.train.batch_size == 0) fail_config("train.batch_size = auto: not even one sample fits");
  }
  MakeTask make = task_maker(source, config, ranks);
  StepShape training = step_shape(config, source.choice, device.kind, true, 0, ranks);
  StepShape inference = step_shape(config, source.choice, device.kind, false, 0, ranks);
  auto task = make();

  fmt::print("{}: {:.2f} M parameters, {}{}\n", describe(source.config), double(task->parameters().count()) / 1e6,
             config.train.precision,
             source.text_tokens > 0 ? fmt::format(", texts of {} tokens", source.text_tokens) : "");
  const MemoryPlan plan = plan_memory(make, training);
  print_plan(plan, fmt::format("training, {} images a pass, {} of {} ranks", training.batch_size,
                               training.sync.strategy, ranks)
                       .c_str());
  print_plan(plan_memory(make, inference), fmt::format("inference, {} images a pass", inference.batch_size).c_str());

  if (memory)
    fmt::print("\nlargest batch in {:.1f} GB{}: {} in training, {} in inference\n", double(*memory) / 1e9,
               config.plan.memory_gb > 0 ? ""
               : device.is_cuda()        ? " (free on the GPU)"
                                         : " (free on this host)",
               largest_batch(make, training, *memory), largest_batch(make, inference, *memory));
  else
    fmt::print("\nlargest batch: this host does not say how much memory is free; give plan.memory_gb\n");
  int64_t per_step = config.train.batch_size * config.train.accumulate * ranks;
  fmt::print("work: {:.2f} GFLOP an image in training, {:.2f} in inference; {:.2f} TFLOP a step of {} images\n",
             task->flops(true, false) / 1e9, task->flops(false, false) / 1e9,
             task->flops(true, false) * double(per_step) / 1e12, per_step);
  if (!config.plan.measured.empty())
    print_forecast(config, wanted, double(task->parameters().count() - task->parameters().frozen_count()));
  return Exit::ok;
}

}  // namespace

const Command plan_command = {"plan",
                              "[MODEL]",
                              "memory and work of a step, before anything is allocated",
                              "Runs a step on shapes alone, so it needs no memory. What it says is what a run takes: "
                              "training allocates its activations\n"
                              "by this plan. Bytes are those of one rank; MB = 10^6.\n"
                              "With plan.measured, plan.links and plan.ranks = N,N,.. it also forecasts how training "
                              "scales, strategy by strategy (docs/scaling.md).",
                              {"plan", "model", "task", "data", "augment", "train", "average", "parallel", "device"},
                              1,
                              false,
                              run};

}  // namespace viaduct::app
