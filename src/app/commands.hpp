// The subcommands of the program: each is a file of this folder, and a row of the table in commands.cpp.
#pragma once
#include "app/command_line.hpp"
#include "comm/mpi_world.hpp"

namespace viaduct::app {

struct Invocation {
  const Config& config;
  const std::vector<std::string>& subjects;
  const World& world;
  Communicator& comm;
};

struct Command {
  const char* name;
  const char* arguments;              // as the usage line shows them
  const char* summary;                // one line
  const char* help;                   // more, for --help
  std::vector<std::string> sections;  // of the config, as --help lists them
  size_t most_subjects;
  bool one_rank;  // rank 0 does it alone
  Exit (*run)(const Invocation&);
};

extern const Command train_command, eval_command, predict_command, export_command, plan_command, bench_command,
    doctor_command, report_command, scenes_command;

// Runs what the command line says: a command, or the help.
int run_command(const std::vector<std::string>& arguments, const World&, Communicator&);

}  // namespace viaduct::app
