#include "app/commands.hpp"

#include <cstdio>

#include "train/nearest.hpp"

namespace viaduct::app {
namespace {

const std::vector<const Command*> kCommands = {&train_command,  &eval_command,   &predict_command,
                                               &export_command, &plan_command,   &bench_command,
                                               &doctor_command, &report_command, &scenes_command};

void print_overview() {
  fmt::print(
      "viaduct: trains, evaluates and serves vision transformers over MPI\n\n"
      "usage: [mpirun -np N] viaduct COMMAND [SUBJECT ...] [--config FILE] [--section.key VALUE ...]\n\n");
  for (const Command* c : kCommands) fmt::print("  {:<9} {}\n", c->name, c->summary);
  fmt::print(
      "\nviaduct COMMAND --help lists what a command takes. A value on the command line beats the config file, which\n"
      "beats the default. Exit codes: 0 done, 2 configuration, 3 input, 4 crash, 5 stall, 6 diverged, 75 stopped and "
      "saved.\n");
}

void print_help(const Command& c) {
  fmt::print("usage: viaduct {}{}{} [--config FILE] [--section.key VALUE ...]\n\n{}\n", c.name, *c.arguments ? " " : "",
             c.arguments, c.help);
  fmt::print("{}", config_help(c.sections));
  if (!c.sections.empty())
    fmt::print("\nThe same keys in a config file: [section] lines, and key = value lines below them.\n");
}

const Command& find_command(const std::string& name) {
  std::vector<std::string> names;
  for (const Command* c : kCommands) {
    if (name == c->name) return *c;
    names.push_back(c->name);
  }
  std::string meant = nearest(name, names, 3);
  std::string hint = meant.empty() ? "; viaduct --help lists the commands" : "; did you mean " + meant + "?";
  fail_config(fmt::format("unknown command '{}'{}", name, hint));
}

}  // namespace

int run_command(const std::vector<std::string>& arguments, const World& world, Communicator& comm) {
  CommandLine line = parse_command_line(arguments);
  if (line.command.empty() && !line.help) fail_config("no command was given; viaduct --help lists the commands");
  if (line.command.empty()) {
    if (world.rank == 0) print_overview();
    return 0;
  }
  const Command& command = find_command(line.command);
  if (line.help) {
    if (world.rank == 0) print_help(command);
    return 0;
  }
  if (line.subjects.size() > command.most_subjects)
    fail_config(fmt::format("viaduct {} does not know what to do with '{}'; usage: viaduct {} {}", command.name,
                            line.subjects[command.most_subjects], command.name, command.arguments));
  if (command.one_rank && world.rank != 0) return 0;
  return int(command.run({line.config, line.subjects, world, comm}));
}

}  // namespace viaduct::app
