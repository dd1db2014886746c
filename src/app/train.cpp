#include <filesystem>

#include "app/setup.hpp"
#include "comm/signals.hpp"
#include "core/base/files.hpp"
#include "core/base/log.hpp"
#include "train/run.hpp"
#include "train/verdict.hpp"

namespace viaduct::app {
namespace {

// More than what a run leaves that failed before its first step.
bool holds_a_run(const Path& folder) {
  for (const char* name : {"metrics.jsonl", "checkpoints", "model"})
    if (std::filesystem::exists(folder / name)) return true;
  return false;
}

// What describes the run from now on; on rank 0.
void begin_record(const Config& config) {
  clear_verdict(config.run.output);
  write_file_durable(Path(config.run.output) / "config.cfg", effective_config(config, train_command.sections));
}

// On rank 0.
void prepare_run_folder(const Config& config) {
  const std::string& folder = config.run.output;
  if (std::filesystem::exists(folder) && !std::filesystem::is_directory(folder))
    fail_config(fmt::format("run.output = {} is a file; name a folder", folder));
  if (config.run.resume == "none" && holds_a_run(folder))
    fail_config(fmt::format(
        "run.output = {} holds a run already; go on with it by --run.resume auto, or choose another folder", folder));
  make_folders(folder);
  if (!holds_a_run(folder)) begin_record(config);  // else once the run has accepted its checkpoint
}

Exit run(const Invocation& call) {
  const Config& config = call.config;
  for (const char* key : {"data.train", "run.output"}) require(config, key, "train");
  if (call.world.rank == 0) prepare_run_folder(config);
  call.comm.barrier();
  settle(call);
  catch_stop_signals();
  Exit code = run_training(config, call.comm, begin_record);
  if (code == Exit::ok) log::info("run {0}: metrics in {0}/metrics.jsonl, model in {0}/model", config.run.output);
  return code;
}

}  // namespace

const Command train_command = {
    "train",
    "",
    "train a model on images with labels, or with texts",
    "Any number of ranks: mpirun -np N viaduct train --config FILE. Needs data.train and "
    "run.output. With model.pretrained\n"
    "training starts from its weights, else from random ones. SIGUSR1 saves and stops (exit "
    "75); --run.resume auto goes on,\n"
    "bit for bit as if nothing had happened.",
    {"model", "task", "data", "augment", "train", "average", "stop", "parallel", "run", "device", "fault"},
    0,
    false,
    run};

}  // namespace viaduct::app
